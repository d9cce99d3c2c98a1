//! Which services does the shop for fabrics have, and who calls whom?
//!
//! This module is the model, as data; the calls are defined only here. A service has endpoints; an endpoint has
//! steps, which run one after the other: a call of another service's endpoint, a database query, a cache access,
//! its own work, a call of an external API, a message. The graph has no cycles (a test checks this), so a trace
//! always ends.
//!
//! The name of an endpoint tells its protocol: `GET /v1/products/{id}` is HTTP,
//! `heddle.pricing.v1.Pricing/Quote` is gRPC, `process orders.placed` consumes a topic, and a timer starts
//! `job reconcile_stock`.

/// Programming language of a service: decides its SDK, its libraries and the form of its stack traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    DotNet,
    Go,
    Java,
    Node,
    Php,
    Python,
    Ruby,
    Rust,
}

/// One service of the shop.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) language: Language,
    pub(super) team: &'static str,
    pub(super) version: &'static str,
    /// Replicas per region.
    pub(super) pods: usize,
    /// `db.system.name` of its own database; empty if it has none.
    pub(super) database: &'static str,
    pub(super) endpoints: &'static [Endpoint],
}

/// One endpoint of a service.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    /// Median of its own time, without its steps, in microseconds.
    pub(super) own_us: u32,
    /// Frequency of clients' requests, relative to the other entry points; 0: only other services call it.
    pub(super) weight: u32,
    /// One in this many traces is kept: 1, 2, 4 or 8.
    pub(super) sampling: u32,
    /// Group of business attributes on its spans.
    pub(super) subject: Subject,
    pub(super) steps: &'static [Step],
}

/// Business object of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Nothing,
    Account,
    Cart,
    Order,
    Payment,
    Product,
    Search,
}

/// One step of an endpoint.
#[derive(Debug)]
pub(super) enum Step {
    /// Calls an endpoint of another service: service, endpoint, percentage of cases.
    Call(&'static str, &'static str, u32),
    /// Queries the service's own database: statement, table, the rest of the text, median µs.
    Query(&'static str, &'static str, &'static str, u32),
    /// Looks up a stored payment method. The incident slows down this step.
    PaymentMethod,
    /// Accesses the shared cache: command, kind of key.
    Cache(&'static str, &'static str),
    /// Works inside the process: name of the function, median µs.
    Work(&'static str, u32),
    /// Calls an external API: host, method, path, median µs.
    External(&'static str, &'static str, &'static str, u32),
    /// Sends a message to a topic.
    Publish(&'static str),
    /// Runs the steps in parallel.
    Together(&'static [Step]),
    /// Repeats the steps: minimum, maximum, steps.
    Repeat(u32, u32, &'static [Step]),
    /// Repeats the steps in proportion to the events of the corpus, so that a timer's trace becomes large.
    Sweep(&'static [Step]),
}

use Language::{DotNet, Go, Java, Node, Php, Python, Ruby, Rust};
use Step::{Cache, Call, External, PaymentMethod, Publish, Query, Repeat, Sweep, Together, Work};
use Subject::{Account, Cart, Nothing, Order, Payment, Product, Search};

/// Creates an entry point, which clients call; its traces are sampled.
const fn entry(
    name: &'static str,
    own_us: u32,
    (weight, sampling): (u32, u32),
    subject: Subject,
    steps: &'static [Step],
) -> Endpoint {
    Endpoint { name, own_us, weight, sampling, subject, steps }
}

/// Creates an endpoint that only other services call.
const fn inner(name: &'static str, own_us: u32, subject: Subject, steps: &'static [Step]) -> Endpoint {
    Endpoint { name, own_us, weight: 0, sampling: 1, subject, steps }
}

const SESSION: Step = Call("sessions", "GET /v1/sessions/{id}", 100);
const QUOTE: Step = Call("pricing", "heddle.pricing.v1.Pricing/Quote", 100);

/// All services; the gateway, with most entry points, is first.
#[rustfmt::skip] // a table: one step a line, however long
pub(super) static SERVICES: &[Service] = &[
    Service {
        name: "gateway",
        language: Go,
        team: "platform",
        version: "2.31.0",
        pods: 3,
        database: "",
        endpoints: &[
            entry("GET /", 700, (16, 4), Nothing, &[SESSION, Call("storefront", "GET /pages/home", 100)]),
            entry("GET /collections/{slug}", 650, (10, 4), Product, &[SESSION, Call("storefront", "GET /pages/collection", 100)]),
            entry("GET /products/{id}", 800, (22, 4), Product, &[SESSION, Call("storefront", "GET /pages/product", 100)]),
            entry("GET /search", 900, (12, 2), Search,
                &[SESSION, Call("search", "GET /v1/search", 100), Call("pricing", "heddle.pricing.v1.Pricing/List", 60)]),
            entry("GET /suggest", 400, (10, 8), Search, &[Call("search", "GET /v1/suggest", 100)]),
            entry("GET /cart", 600, (8, 1), Cart, &[SESSION, Call("carts", "GET /v1/carts/{id}", 100)]),
            entry("POST /cart/items", 700, (9, 1), Cart, &[SESSION, Call("carts", "POST /v1/carts/{id}/items", 100)]),
            entry("DELETE /cart/items/{id}", 600, (2, 1), Cart, &[SESSION, Call("carts", "DELETE /v1/carts/{id}/items/{item}", 100)]),
            entry("POST /checkout", 1200, (16, 1), Order,
                &[SESSION, Call("identity", "POST /v1/introspect", 100), Call("checkout", "POST /v1/checkouts", 100)]),
            entry("GET /orders", 700, (4, 1), Order,
                &[Call("identity", "POST /v1/introspect", 100), Call("orders", "GET /v1/orders", 100)]),
            entry("GET /orders/{id}", 700, (5, 1), Order, &[
                Call("identity", "POST /v1/introspect", 100),
                Call("orders", "GET /v1/orders/{id}", 100),
                Call("shipping", "GET /v1/shipments/{id}", 60),
            ]),
            entry("POST /login", 900, (4, 1), Account,
                &[Call("identity", "POST /v1/tokens", 100), Call("sessions", "POST /v1/sessions", 100)]),
            entry("GET /account", 800, (3, 1), Account, &[
                Call("identity", "POST /v1/introspect", 100),
                Together(&[Call("customers", "GET /v1/customers/{id}", 100), Call("loyalty", "GET /v1/balances/{customer}", 100)]),
            ]),
            entry("POST /reviews", 700, (1, 1), Product,
                &[Call("identity", "POST /v1/introspect", 100), Call("reviews", "POST /v1/reviews", 100)]),
            entry("GET /images/{id}", 300, (8, 8), Nothing, &[Call("media", "GET /v1/images/{id}", 100)]),
        ],
    },
    Service {
        name: "storefront",
        language: Node,
        team: "storefront",
        version: "11.4.2",
        pods: 3,
        database: "",
        endpoints: &[
            inner("GET /pages/home", 1800, Nothing, &[
                Cache("GET", "page:home"),
                Together(&[Call("catalog", "GET /v1/collections/{slug}", 100), Call("recommendations", "GET /v1/recommendations", 80)]),
                Work("render_page", 2600),
            ]),
            inner("GET /pages/collection", 1500, Product, &[
                Call("catalog", "GET /v1/collections/{slug}", 100),
                Call("pricing", "heddle.pricing.v1.Pricing/List", 100),
                Work("render_page", 3100),
            ]),
            inner("GET /pages/product", 1600, Product, &[
                Call("catalog", "GET /v1/products/{id}", 100),
                Together(&[
                    QUOTE,
                    Call("inventory", "heddle.inventory.v1.Stock/Get", 100),
                    Call("reviews", "GET /v1/reviews", 70),
                    Call("recommendations", "GET /v1/similar/{id}", 40),
                ]),
                Work("render_page", 2400),
            ]),
        ],
    },
    Service {
        name: "identity",
        language: Go,
        team: "accounts",
        version: "5.2.7",
        pods: 2,
        database: "postgresql",
        endpoints: &[
            inner("POST /v1/introspect", 350, Account, &[Cache("GET", "token"), Work("verify_signature", 420)]),
            inner("POST /v1/tokens", 900, Account, &[
                Query("SELECT", "credentials", "WHERE login = $1 AND disabled_at IS NULL", 1400),
                Work("verify_password", 62_000),
                Query("INSERT", "tokens", "(id, customer_id, scope, expires_at) VALUES ($1, $2, $3, $4)", 1900),
                Cache("SETEX", "token"),
            ]),
        ],
    },
    Service {
        name: "sessions",
        language: Go,
        team: "accounts",
        version: "3.0.4",
        pods: 2,
        database: "",
        endpoints: &[
            inner("GET /v1/sessions/{id}", 260, Account, &[Cache("HGETALL", "session")]),
            inner("POST /v1/sessions", 380, Account, &[Cache("HSET", "session"), Cache("EXPIRE", "session")]),
        ],
    },
    Service {
        name: "customers",
        language: Java,
        team: "accounts",
        version: "8.14.1",
        pods: 2,
        database: "postgresql",
        endpoints: &[inner(
            "GET /v1/customers/{id}",
            1100,
            Account,
            &[
                Query("SELECT", "customers", "WHERE id = $1", 1300),
                Query("SELECT", "addresses", "WHERE customer_id = $1 ORDER BY is_default DESC", 1700),
            ],
        )],
    },
    Service {
        name: "catalog",
        language: Java,
        team: "discovery",
        version: "14.9.0",
        pods: 3,
        database: "postgresql",
        endpoints: &[
            inner("GET /v1/products/{id}", 900, Product, &[
                Cache("GET", "product"),
                Query("SELECT", "products", "WHERE id = $1 AND published", 1500),
                Query("SELECT", "product_variants", "WHERE product_id = $1 ORDER BY position", 1800),
            ]),
            inner("GET /v1/collections/{slug}", 1200, Product, &[
                Cache("GET", "collection"),
                Query("SELECT", "products", "WHERE collection_id = $1 AND published ORDER BY rank LIMIT 48", 5200),
            ]),
        ],
    },
    Service {
        name: "search",
        language: Java,
        team: "discovery",
        version: "7.3.1",
        pods: 2,
        database: "opensearch",
        endpoints: &[
            inner("GET /v1/search", 1600, Search, &[
                Work("parse_query", 300),
                Query("SEARCH", "products", "{\"query\":{\"multi_match\":{\"query\":\"?\"}},\"size\":24}", 18_000),
                Work("rank_results", 2200),
            ]),
            inner("GET /v1/suggest", 500, Search, &[Query("SEARCH", "suggestions", "{\"suggest\":{\"prefix\":\"?\"}}", 4100)]),
        ],
    },
    Service {
        name: "recommendations",
        language: Python,
        team: "discovery",
        version: "1.22.0",
        pods: 2,
        database: "mongodb",
        endpoints: &[
            inner("GET /v1/recommendations", 3200, Account,
                &[Query("find", "profiles", "{\"customer\":\"?\"}", 2400), Work("score_candidates", 9500)]),
            inner("GET /v1/similar/{id}", 2100, Product, &[Query("find", "neighbours", "{\"product\":\"?\"}", 2900)]),
            inner("process carts.updated", 1500, Cart,
                &[Query("update", "profiles", "{\"customer\":\"?\",\"$push\":{\"seen\":\"?\"}}", 3300)]),
        ],
    },
    Service {
        name: "carts",
        language: DotNet,
        team: "purchase",
        version: "6.6.3",
        pods: 2,
        database: "",
        endpoints: &[
            inner("GET /v1/carts/{id}", 700, Cart, &[Cache("HGETALL", "cart"), QUOTE, Call("promotions", "POST /v1/discounts", 70)]),
            inner("POST /v1/carts/{id}/items", 900, Cart,
                &[Call("inventory", "heddle.inventory.v1.Stock/Get", 100), Cache("HSET", "cart"), QUOTE, Publish("carts.updated")]),
            inner("DELETE /v1/carts/{id}/items/{item}", 700, Cart, &[Cache("HDEL", "cart"), Publish("carts.updated")]),
        ],
    },
    Service {
        name: "pricing",
        language: Rust,
        team: "purchase",
        version: "2.8.0",
        pods: 2,
        database: "",
        endpoints: &[
            inner("heddle.pricing.v1.Pricing/Quote", 180, Cart, &[Cache("MGET", "price"), Work("apply_rules", 140)]),
            inner("heddle.pricing.v1.Pricing/List", 240, Product, &[Cache("MGET", "price")]),
        ],
    },
    Service {
        name: "promotions",
        language: Python,
        team: "growth",
        version: "0.41.5",
        pods: 2,
        database: "postgresql",
        endpoints: &[inner(
            "POST /v1/discounts",
            1900,
            Cart,
            &[
                Query("SELECT", "promotions", "WHERE active AND market = $1", 1600),
                Query("SELECT", "coupons", "WHERE code = $1 AND redeemed_at IS NULL", 1200),
            ],
        )],
    },
    Service {
        name: "inventory",
        language: Go,
        team: "fulfilment",
        version: "9.1.0",
        pods: 2,
        database: "postgresql",
        endpoints: &[
            inner("heddle.inventory.v1.Stock/Get", 260, Product,
                &[Cache("GET", "stock"), Query("SELECT", "stock_levels", "WHERE sku = ANY($1)", 1100)]),
            inner("heddle.inventory.v1.Stock/Reserve", 420, Order, &[
                Repeat(1, 4, &[Query( "UPDATE", "stock_levels", "SET reserved = reserved + $2 WHERE sku = $1", 2300, )]),
                Query("INSERT", "reservations", "(id, order_id, sku, quantity) VALUES ($1, $2, $3, $4)", 1900),
            ]),
        ],
    },
    Service {
        name: "checkout",
        language: Go,
        team: "purchase",
        version: "4.4.9",
        pods: 2,
        database: "postgresql",
        endpoints: &[inner(
            "POST /v1/checkouts",
            2200,
            Order,
            &[
                Query("INSERT", "checkouts", "(id, cart_id, customer_id, state) VALUES ($1, $2, $3, $4)", 2100),
                Call("carts", "GET /v1/carts/{id}", 100),
                Together(&[
                    Call("tax", "heddle.tax.v1.Tax/Calculate", 100),
                    Call("shipping", "POST /v1/quotes", 100),
                    Call("customers", "GET /v1/customers/{id}", 100),
                ]),
                Call("inventory", "heddle.inventory.v1.Stock/Reserve", 100),
                Call("payment", "POST /v1/authorizations", 100),
                Call("orders", "POST /v1/orders", 100),
                Query("UPDATE", "checkouts", "SET state = $2, order_id = $3 WHERE id = $1", 1800),
                Cache("DEL", "cart"),
            ],
        )],
    },
    Service {
        name: "payment",
        language: Java,
        team: "payments",
        version: super::incident::VERSION_BEFORE,
        pods: 3,
        database: "postgresql",
        endpoints: &[
            inner("POST /v1/authorizations", 2400, Payment, &[
                PaymentMethod,
                Call("fraud", "heddle.fraud.v1.Fraud/Score", 100),
                External("api.psp.example", "POST", "/v2/charges", 96_000),
                Query("INSERT", "payments", "(id, order_id, method_id, amount, state) VALUES ($1, $2, $3, $4, $5)", 2600),
                Publish("payments.authorized"),
            ]),
            entry("POST /webhooks/psp", 1500, (3, 1), Payment, &[
                Work("verify_signature", 600),
                Query("UPDATE", "payments", "SET state = $2, settled_at = now() WHERE psp_reference = $1", 2500),
            ]),
        ],
    },
    Service {
        name: "fraud",
        language: Python,
        team: "payments",
        version: "3.17.2",
        pods: 2,
        database: "mongodb",
        endpoints: &[inner(
            "heddle.fraud.v1.Fraud/Score",
            2800,
            Payment,
            &[Query("find", "devices", "{\"fingerprint\":\"?\"}", 2600), Work("evaluate_model", 14_000)],
        )],
    },
    Service {
        name: "orders",
        language: Java,
        team: "purchase",
        version: "12.0.5",
        pods: 2,
        database: "postgresql",
        endpoints: &[
            inner("POST /v1/orders", 1700, Order, &[
                Query("INSERT", "orders", "(id, customer_id, total, currency, state) VALUES ($1, $2, $3, $4, $5)", 2800),
                Repeat(1, 5, &[Query( "INSERT", "order_lines", "(order_id, sku, quantity, price) VALUES ($1, $2, $3, $4)", 1500, )]),
                Publish("orders.placed"),
            ]),
            inner("GET /v1/orders", 1300, Order, &[
                Query("SELECT", "orders", "WHERE customer_id = $1 ORDER BY placed_at DESC LIMIT 20", 3900),
                Repeat(0, 6, &[Query("SELECT", "order_lines", "WHERE order_id = $1", 1400)]),
            ]),
            inner("GET /v1/orders/{id}", 1000, Order,
                &[Query("SELECT", "orders", "WHERE id = $1", 1600), Query("SELECT", "order_lines", "WHERE order_id = $1", 1700)]),
        ],
    },
    Service {
        name: "shipping",
        language: Go,
        team: "fulfilment",
        version: "4.7.1",
        pods: 2,
        database: "postgresql",
        endpoints: &[
            inner("POST /v1/quotes", 800, Order, &[
                Query("SELECT", "carriers", "WHERE country = $1 AND active", 1300),
                External("rates.parcel.example", "POST", "/rates", 48_000),
            ]),
            inner("GET /v1/shipments/{id}", 600, Order, &[Query("SELECT", "shipments", "WHERE order_id = $1", 1500)]),
            inner("process orders.placed", 1400, Order,
                &[Query("INSERT", "shipments", "(id, order_id, carrier_id, state) VALUES ($1, $2, $3, $4)", 2300)]),
        ],
    },
    Service {
        name: "tax",
        language: Rust,
        team: "purchase",
        version: "1.9.3",
        pods: 2,
        database: "sqlite",
        endpoints: &[inner(
            "heddle.tax.v1.Tax/Calculate",
            220,
            Order,
            &[Query("SELECT", "tax_rates", "WHERE country = ?1 AND category = ?2", 300)],
        )],
    },
    Service {
        name: "reviews",
        language: Php,
        team: "growth",
        version: "5.5.0",
        pods: 2,
        database: "mysql",
        endpoints: &[
            inner("GET /v1/reviews", 2600, Product,
                &[Query("SELECT", "reviews", "WHERE product_id = ? ORDER BY helpful DESC LIMIT 10", 3700)]),
            inner("POST /v1/reviews", 2900, Product,
                &[Query("INSERT", "reviews", "(product_id, customer_id, stars, text) VALUES (?, ?, ?, ?)", 3400)]),
        ],
    },
    Service {
        name: "loyalty",
        language: DotNet,
        team: "growth",
        version: "2.2.8",
        pods: 2,
        database: "mysql",
        endpoints: &[
            inner("GET /v1/balances/{customer}", 800, Account, &[Query("SELECT", "points", "WHERE customer_id = ?", 1900)]),
            inner("process orders.placed", 1100, Order,
                &[Query("INSERT", "points", "(customer_id, order_id, points) VALUES (?, ?, ?)", 2600)]),
        ],
    },
    Service {
        name: "notifications",
        language: Node,
        team: "growth",
        version: "3.12.0",
        pods: 2,
        database: "mongodb",
        endpoints: &[
            inner("process orders.placed", 1700, Order, &[
                Query("find", "preferences", "{\"customer\":\"?\"}", 2100),
                Call("email", "POST /v1/messages", 85),
                External("push.devices.example", "POST", "/3/device", 31_000),
            ]),
            inner("process payments.authorized", 900, Payment, &[Query("insert", "receipts", "{\"order\":\"?\",\"amount\":\"?\"}", 2500)]),
        ],
    },
    Service {
        name: "email",
        language: Ruby,
        team: "growth",
        version: "1.0.93",
        pods: 2,
        database: "mysql",
        endpoints: &[inner(
            "POST /v1/messages",
            4200,
            Order,
            &[
                Query("SELECT", "templates", "WHERE name = ? AND locale = ?", 1800),
                Work("render_template", 6400),
                External("smtp.mail.example", "POST", "/send", 58_000),
            ],
        )],
    },
    Service {
        name: "media",
        language: Go,
        team: "platform",
        version: "1.14.6",
        pods: 2,
        database: "",
        endpoints: &[inner(
            "GET /v1/images/{id}",
            400,
            Nothing,
            &[Cache("GET", "image"), External("objects.storage.example", "GET", "/images", 14_000)],
        )],
    },
    Service {
        name: "warehouse-sync",
        language: Python,
        team: "fulfilment",
        version: "0.9.12",
        pods: 1,
        database: "postgresql",
        endpoints: &[
            Endpoint {
                name: "job reconcile_stock",
                own_us: 42_000,
                weight: 1,
                sampling: 1,
                subject: Nothing,
                steps: &[
                    Query("SELECT", "stock_levels", "WHERE updated_at > $1", 45_000),
                    Sweep(&[Query("UPDATE", "stock_levels", "SET counted = $2, counted_at = now() WHERE sku = $1", 1900)]),
                ],
            },
            inner("process orders.placed", 1300, Order,
                &[Query("INSERT", "picking_list", "(order_id, sku, quantity, shelf) VALUES ($1, $2, $3, $4)", 2200)]),
        ],
    },
];

/// Regions and the share of visitors in percent.
pub(super) static REGIONS: &[(&str, u32)] =
    &[("eu-west", 40), ("us-east", 28), ("eu-central", 18), ("ap-south", 14)];

/// Products of the shop: name, category, price in cents.
pub(super) static PRODUCTS: &[(&str, &str, u32)] = &[
    ("Harris Tweed «Stornoway» 150 cm", "wool", 6_490),
    ("Liberty Tana Lawn – Poppy & Daisy", "cotton", 3_250),
    ("Leinen gewaschen, Nachtblau", "linen", 2_190),
    ("Crêpe de Chine, ivoire", "silk", 4_800),
    ("西陣織 金襴 菊文様", "silk", 18_900),
    ("久留米絣 藍染め", "cotton", 5_400),
    ("बनारसी ज़री साड़ी कपड़ा", "silk", 12_750),
    ("Kitenge «Nyota» 6 yd", "cotton", 2_700),
    ("Lana merino extrafina", "wool", 7_200),
    ("Pościel adamaszek, biała", "cotton", 1_990),
    ("Ποπλίνα ριγέ", "cotton", 1_450),
    ("قماش كتان مصري", "linen", 3_900),
    ("Бархат бордовый", "velvet", 5_150),
    ("Denim 14 oz, raw", "cotton", 2_890),
    ("Oilcloth 🍋 lemons", "coated", 1_650),
    ("Recycled fleece ♻️ forest", "synthetic", 1_280),
    ("Buttons, horn, 20 mm (×10)", "notions", 790),
    ("Zip 40 cm \"heavy\"", "notions", 340),
    ("Thread No. 100 / 1000 m", "notions", 420),
    ("Dog’s-tooth check, 50% off!", "wool", 3_100),
];

/// Search queries of visitors.
pub(super) static SEARCHES: &[&str] = &[
    "linen",
    "wool coat fabric",
    "denim 14oz",
    "seide",
    "velours côtelé",
    "ボタン",
    "zip 40",
    "baumwolle kariert",
    "kitenge",
    "लिनन",
    "бархат",
    "organic cotton jersey",
    "tela para cortinas",
    "🧵",
    "lining  ",
    "100% wool",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn find(service: &str, endpoint: &str) -> &'static Endpoint {
        SERVICES
            .iter()
            .find(|s| s.name == service)
            .and_then(|s| s.endpoints.iter().find(|e| e.name == endpoint))
            .unwrap_or_else(|| panic!("no endpoint {endpoint} of {service}"))
    }

    /// Length of the longest chain of calls; panics on an unknown name or a cycle.
    fn walk(steps: &[Step], topics: &mut HashSet<&'static str>, budget: u32) -> u32 {
        assert!(budget > 0, "the call graph has a cycle");
        let mut deepest = 0;
        for step in steps {
            deepest = deepest.max(match step {
                Call(service, endpoint, percent) => {
                    assert!((1..=100).contains(percent));
                    1 + walk(find(service, endpoint).steps, topics, budget - 1)
                }
                Together(inner) | Repeat(_, _, inner) | Sweep(inner) => walk(inner, topics, budget - 1),
                Publish(topic) => {
                    topics.insert(topic);
                    0
                }
                _ => 0,
            });
        }
        deepest
    }

    #[test]
    fn every_call_has_a_target_and_no_call_comes_back() {
        let mut topics = HashSet::new();
        let mut deepest = 0;
        for endpoint in SERVICES.iter().flat_map(|s| s.endpoints) {
            deepest = deepest.max(walk(endpoint.steps, &mut topics, 32));
            assert!([1, 2, 4, 8].contains(&endpoint.sampling));
        }
        assert!(deepest >= 3, "calls go {deepest} deep");
        for topic in topics {
            let consumer = format!("process {topic}");
            assert!(
                SERVICES.iter().flat_map(|s| s.endpoints).any(|e| e.name == consumer),
                "no service has the endpoint {consumer}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_shares_add_up() {
        let names: HashSet<_> = SERVICES.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), SERVICES.len());
        assert!(SERVICES.len() >= 20);
        assert_eq!(REGIONS.iter().map(|r| r.1).sum::<u32>(), 100);
    }
}
