//! Who visits the shop? Few users visit often, many once; each has a device, a place, a language.
//!
//! A user is a rank. Ranks are log-uniform, so that the frequency of visits follows Zipf's law. All properties of a
//! user follow from a hash of the rank, so the same user always has the same device and place.

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::attributes::{boolean, double, int, text};
use super::dice::{Dice, exp, push_hex, push_number};
use super::incident;
use super::shop::REGIONS;

/// Number of users.
const USERS: f64 = 400_000.0;
/// Natural logarithm of [`USERS`].
const LN_USERS: f64 = 12.899_219_826_090_12;
/// Number of device and app profiles; users share them.
const PROFILES: usize = 768;

/// One visitor for the length of one trace.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Index into [`REGIONS`].
    pub(super) region: usize,
    /// True if the phone's wallet sends a token; the incident hits only such users.
    pub(super) wallet_token: bool,
    pub(super) currency: &'static str,
    /// IP address of the client, as the gateway sees it.
    pub(super) address: String,
    /// Attributes of the visitor on every span and log of the trace.
    pub(super) attributes: Vec<KeyValue>,
}

/// All users.
#[derive(Debug)]
pub(super) struct Users {
    profiles: Vec<Profile>,
    places: Vec<Vec<Place>>,
}

#[derive(Debug)]
struct Profile {
    wallet_token: bool,
    attributes: Vec<KeyValue>,
}

#[derive(Debug)]
struct Place {
    currency: &'static str,
    attributes: Vec<KeyValue>,
}

impl Users {
    /// Creates the users of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 2);
        Self { profiles: (0..PROFILES).map(|_| profile(&mut dice)).collect(), places: places() }
    }

    /// Draws the next visitor.
    pub(super) fn visit(&self, dice: &mut Dice) -> Visitor {
        let rank = exp(dice.unit() * LN_USERS).min(USERS) as u64;
        let hash = mix(rank);
        let region = region_of(hash % 100);
        let profile = &self.profiles[(hash >> 8) as usize % self.profiles.len()];
        let place = &self.places[region][(hash >> 24) as usize % self.places[region].len()];
        let mut attributes = Vec::with_capacity(profile.attributes.len() + place.attributes.len() + 12);
        attributes.extend_from_slice(&profile.attributes);
        attributes.extend_from_slice(&place.attributes);
        let address = address(hash);
        let mut id = String::with_capacity(18);
        id.push_str("u_");
        push_hex(&mut id, &hash.to_be_bytes()[2..]);
        attributes.push(text("user.id", id));
        attributes.push(text(
            "user.segment",
            *["guest", "new", "returning", "loyal"].get((hash >> 40) as usize % 4).unwrap_or(&"new"),
        ));
        attributes.push(text("session.id", dice.hex(16)));
        let mut device = String::with_capacity(20);
        push_hex(&mut device, &mix(hash).to_be_bytes());
        attributes.push(text("device.id", device));
        attributes.push(text("client.address", address.as_str()));
        attributes.push(int("client.port", dice.between(32_768, 60_999) as i64));
        attributes.push(boolean("feature_flag.new_checkout", hash & 1 == 1));
        attributes
            .push(text("feature_flag.search_ranking", if hash & 6 == 0 { "learned" } else { "classic" }));
        attributes.push(boolean("feature_flag.wallet_tokens", profile.wallet_token));
        Visitor { region, wallet_token: profile.wallet_token, currency: place.currency, address, attributes }
    }
}

/// SplitMix64: spreads ranks over all 64 bits.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn region_of(mut percent: u64) -> usize {
    for (index, (_, share)) in REGIONS.iter().enumerate() {
        if percent < u64::from(*share) {
            return index;
        }
        percent -= u64::from(*share);
    }
    0
}

fn address(hash: u64) -> String {
    let mut out = String::with_capacity(16);
    for (i, byte) in hash.to_le_bytes()[2..6].iter().enumerate() {
        if i > 0 {
            out.push('.');
        }
        push_number(&mut out, u64::from(*byte).clamp(2, 223));
    }
    out
}

/// Manufacturer, model, identifier.
type Model = (&'static str, &'static str, &'static str);

const PHONES_APPLE: &[Model] = &[
    ("Apple", "iPhone 12", "iPhone13,2"),
    ("Apple", "iPhone 13", "iPhone14,5"),
    ("Apple", "iPhone 14", "iPhone14,7"),
    ("Apple", "iPhone 14 Pro", "iPhone15,2"),
    ("Apple", "iPhone 15", "iPhone15,4"),
    ("Apple", "iPhone 15 Pro", "iPhone16,1"),
    ("Apple", "iPhone 16", "iPhone17,3"),
    ("Apple", "iPad Air", "iPad14,8"),
];
const PHONES_ANDROID: &[Model] = &[
    ("Samsung", "Galaxy S23", "SM-S911B"),
    ("Samsung", "Galaxy A54", "SM-A546B"),
    ("Google", "Pixel 8", "G9BQD"),
    ("Google", "Pixel 9a", "GTF7P"),
    ("Xiaomi", "Redmi Note 13", "23124RA7EO"),
    ("Fairphone", "Fairphone 5", "FP5"),
    ("Motorola", "moto g84", "XT2347-2"),
];
const COMPUTERS: &[Model] = &[
    ("Apple", "MacBook Air", "Mac15,12"),
    ("Lenovo", "ThinkPad T14", "21HD"),
    ("Dell", "XPS 13", "9340"),
    ("HP", "EliteBook 840", "G10"),
];

fn profile(dice: &mut Dice) -> Profile {
    let draw = dice.below(100);
    let (model, os, version, client) = match draw {
        0..52 => (
            dice.pick(PHONES_APPLE),
            incident::OS_NAME,
            *dice.pick(&["16.7.11", "17.5.1", "17.6.1", "17.6.1", "18.5"]),
            "ios",
        ),
        52..78 => {
            (dice.pick(PHONES_ANDROID), "Android", *dice.pick(&["12", "13", "14", "15", "15"]), "android")
        }
        _ => {
            let model = dice.pick(COMPUTERS);
            let (os, version) = match model.0 {
                "Apple" => ("macOS", "15.5"),
                "HP" => ("Linux", "6.12"),
                _ => ("Windows", *dice.pick(&["10", "11", "11"])),
            };
            (model, os, version, "web")
        }
    };
    let wallet_token = os == incident::OS_NAME && version.starts_with(incident::OS_MAJOR);
    let app = format!("{}.{}.{}", dice.between(6, 7), dice.below(12), dice.below(4));
    let agent = match client {
        "web" => format!(
            "Mozilla/5.0 ({os} {version}) AppleWebKit/537.36 (KHTML, like Gecko) {}.0.{}.{} Safari/537.36",
            dice.pick(&["Chrome/138", "Edg/137", "Chrome/136"]),
            dice.between(7000, 7299),
            dice.below(180)
        ),
        _ => format!("Heddle/{app} ({}; {os} {version})", model.2),
    };
    let connection = if client == "web" { "wired" } else { *dice.pick(&["wifi", "wifi", "cell"]) };
    let mut attributes = vec![
        text("device.manufacturer", model.0),
        text("device.model.name", model.1),
        text("device.model.identifier", model.2),
        text("os.name", os),
        text("os.version", version),
        text("app.version", app),
        int("app.build_number", dice.between(40_100, 48_900) as i64),
        text("app.client", client),
        text("user_agent.original", agent),
        text("network.connection.type", connection),
        text("client.screen", *dice.pick(&["390x844", "412x915", "1440x900", "1920x1080"])),
    ];
    if connection == "cell" {
        attributes.push(text(
            "network.carrier.name",
            *dice.pick(&["Vodafone", "Orange", "T-Mobile", "Airtel", "楽天"]),
        ));
    }
    Profile { wallet_token, attributes }
}

/// Country, city, language, time zone, currency, latitude, longitude.
type City = (&'static str, &'static str, &'static str, &'static str, &'static str, f64, f64);

const CITIES: [&[City]; 4] = [
    &[
        ("IE", "Dublin", "en-IE", "Europe/Dublin", "EUR", 53.35, -6.26),
        ("GB", "Manchester", "en-GB", "Europe/London", "GBP", 53.48, -2.24),
        ("FR", "Besançon", "fr-FR", "Europe/Paris", "EUR", 47.24, 6.02),
        ("ES", "A Coruña", "gl-ES", "Europe/Madrid", "EUR", 43.36, -8.41),
        ("PT", "Évora", "pt-PT", "Europe/Lisbon", "EUR", 38.57, -7.91),
    ],
    &[
        ("US", "Boston", "en-US", "America/New_York", "USD", 42.36, -71.06),
        ("CA", "Québec", "fr-CA", "America/Toronto", "CAD", 46.81, -71.21),
        ("BR", "São Luís", "pt-BR", "America/Fortaleza", "BRL", -2.53, -44.30),
    ],
    &[
        ("DE", "Köln", "de-DE", "Europe/Berlin", "EUR", 50.94, 6.96),
        ("AT", "Sankt Pölten", "de-AT", "Europe/Vienna", "EUR", 48.20, 15.62),
        ("PL", "Gdańsk", "pl-PL", "Europe/Warsaw", "PLN", 54.35, 18.65),
        ("GR", "Θεσσαλονίκη", "el-GR", "Europe/Athens", "EUR", 40.64, 22.94),
    ],
    &[
        ("IN", "जयपुर", "hi-IN", "Asia/Kolkata", "INR", 26.91, 75.79),
        ("JP", "京都市", "ja-JP", "Asia/Tokyo", "JPY", 35.01, 135.77),
        ("SG", "Singapore", "en-SG", "Asia/Singapore", "SGD", 1.35, 103.82),
    ],
];

fn places() -> Vec<Vec<Place>> {
    let place = |(country, city, language, zone, currency, latitude, longitude): &City| Place {
        currency,
        attributes: vec![
            text("geo.country.iso_code", *country),
            text("geo.locality.name", *city),
            double("geo.location.lat", *latitude),
            double("geo.location.lon", *longitude),
            text("client.locale", *language),
            text("client.timezone", *zone),
            text("shop.currency", *currency),
        ],
    };
    CITIES.iter().map(|cities| cities.iter().map(place).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn few_users_visit_often() {
        let users = Users::new(5);
        let mut dice = Dice::new(5, 9);
        let mut visits: HashMap<String, u32> = HashMap::new();
        let mut affected = 0;
        for _ in 0..20_000 {
            let visitor = users.visit(&mut dice);
            affected += u32::from(visitor.wallet_token && REGIONS[visitor.region].0 == incident::REGION);
            let id = visitor.attributes.iter().find(|a| a.key == "user.id").map(|a| format!("{:?}", a.value));
            *visits.entry(id.unwrap()).or_default() += 1;
        }
        let mut counts: Vec<u32> = visits.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts[0] > 500, "the most frequent user comes {} times", counts[0]);
        assert!(counts.iter().filter(|&&c| c == 1).count() > 3000, "many come once");
        assert!((600..4000).contains(&affected), "{affected} of 20000 visits can be hit by the incident");
    }
}
