//! How many events does a sampled event stand for?
//!
//! Two conventions are understood; the first that applies wins:
//! 1. W3C `tracestate` with OpenTelemetry's `ot=th:<hex>`, the *rejection threshold* T of consistent
//!    probability sampling: up to 14 hex digits, the rest zeroes, of 56 bits. An event is kept with
//!    probability (2^56 − T) / 2^56, so it stands for 2^56 / (2^56 − T).
//!    <https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/>
//! 2. A record-level `SampleRate` attribute, as Honeycomb's libraries send it: the weight itself.
//!
//! A weight that is malformed or below 1 is ignored: the weight is 1. The result is finite and at least 1.

use super::attributes::{AnyRef, Attribute};

/// Most hex digits of a threshold.
const THRESHOLD_DIGITS: usize = 14;

const SAMPLE_RATE: &str = "SampleRate";

/// Weight of a record with this trace state and these attributes.
pub(super) fn sample_weight(trace_state: &str, attributes: &[Attribute<'_>]) -> f64 {
    let weight = of_trace_state(trace_state).or_else(|| {
        let rate = attributes.iter().find(|a| a.key == SAMPLE_RATE)?;
        match rate.value {
            AnyRef::Int(i) => Some(i as f64),
            AnyRef::Double(d) => Some(d),
            AnyRef::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    });
    weight.filter(|w: &f64| w.is_finite() && *w >= 1.0).unwrap_or(1.0)
}

fn of_trace_state(trace_state: &str) -> Option<f64> {
    if trace_state.is_empty() {
        return None;
    }
    let member = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="))?;
    let digits = member.split(';').find_map(|entry| entry.strip_prefix("th:"))?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.is_empty() || digits.len() > THRESHOLD_DIGITS || !digits.bytes().all(hex) {
        return None;
    }
    let threshold = u64::from_str_radix(digits, 16).ok()? << (4 * (THRESHOLD_DIGITS - digits.len()));
    let all = 1_u64 << 56;
    Some(all as f64 / (all - threshold) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_rate(value: AnyRef<'_>) -> f64 {
        sample_weight("", &[Attribute { key: SAMPLE_RATE, value }])
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn thresholds_become_weights() {
        let weight = |state| sample_weight(state, &[]);
        assert_eq!(weight("ot=th:0"), 1.0);
        assert_eq!(weight("ot=th:8"), 2.0);
        assert_eq!(weight("vendor=x, ot=rv:abcdef;th:c;p:1"), 4.0);
        assert_eq!(weight("ot=th:fd70a3d70a3d71"), (1_u64 << 56) as f64 / 0x0002_8f5c_28f5_c28f_u64 as f64);
        assert_eq!(weight("ot=th:ffffffffffffff"), (1_u64 << 56) as f64);
        for no_statement in ["", "ot=", "ot=th:", "ot=th:x", "ot=th:C", "ot=th:000000000000000", "xot=th:8"] {
            assert_eq!(weight(no_statement), 1.0, "{no_statement}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn a_sample_rate_is_the_weight_unless_the_trace_state_says_otherwise() {
        assert_eq!(with_rate(AnyRef::Int(20)), 20.0);
        assert_eq!(with_rate(AnyRef::Double(2.5)), 2.5);
        assert_eq!(with_rate(AnyRef::Text("8")), 8.0);
        for bad in [AnyRef::Int(0), AnyRef::Int(-3), AnyRef::Double(f64::NAN), AnyRef::Double(f64::INFINITY)]
        {
            assert_eq!(with_rate(bad), 1.0);
        }
        assert_eq!(sample_weight("ot=th:8", &[Attribute { key: SAMPLE_RATE, value: AnyRef::Int(20) }]), 2.0);
    }
}
