//! Which events are too old, or too many?
//!
//! Rules say how long to keep what; of each event the first that its condition fits decides, and what none
//! fits is kept. Segments of which everything has expired leave the catalog at once. In others the expired
//! rows are hidden, as if they were deleted; compaction removes them when they are a quarter.
//!
//! ```text
//! rule 1: 90 days where status_code = 'ERROR'      segments   ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇  time ─▶
//! rule 2: 14 days                                              drop │ errors only   │ all
//!                                                                 90 d            14 d
//! ```
//!
//! A rule is applied to a segment when all of it has passed the rule's age, or an eighth of that age more
//! than at the last time. So an event is gone between `keep` and 9/8 `keep` after its time, and the condition
//! is evaluated a few times per segment.
//!
//! When segments have more bytes than they may, the ones whose newest events are oldest go, as a whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Condition;
use super::masking::{Masker, is_before};
use crate::config::{RetentionRule, RetentionSettings};
use crate::error::Result;
use crate::event::TimeRange;
use crate::segment::{SegmentId, SegmentMeta};

/// Segments that are looked at for one commit.
const SEGMENTS_AT_ONCE: usize = 64;

/// Hides and removes what has expired.
#[derive(Debug)]
pub struct Retainer {
    masker: Arc<Masker>,
    settings: RetentionSettings,
    /// The condition of each rule.
    conditions: Vec<Option<Condition>>,
    /// Up to which time each rule was applied to a segment.
    applied: Mutex<HashMap<SegmentId, Vec<i64>>>,
}

impl Retainer {
    /// Applies `settings` by `masker`. Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the
    /// rule, when its condition is wrong.
    pub async fn new(masker: Arc<Masker>, settings: RetentionSettings) -> Result<Self> {
        let matcher = Arc::clone(masker.matcher());
        let mut conditions = Vec::with_capacity(settings.rules.len());
        for (number, rule) in settings.rules.iter().enumerate() {
            let Some(text) = &rule.condition else {
                conditions.push(None);
                continue;
            };
            let name = || format!("retention rule {}, where {text}", number + 1);
            let condition = matcher.parse(text).map_err(|e| e.context(name()))?;
            matcher.check(&condition).await.map_err(|e| e.context(name()))?;
            conditions.push(Some(condition));
        }
        if conditions.len() > 1 {
            let all = expired_by(&conditions, &vec![Some(0); conditions.len()]);
            matcher.check(&all).await.map_err(|e| e.context("all retention rules together"))?;
        }
        Ok(Self { masker, settings, conditions, applied: Mutex::default() })
    }

    /// Hides and removes what has expired by now; returns how many events. What is not done when `stop` says so
    /// is done the next time.
    pub async fn apply(&self, stop: &CancellationToken) -> Result<u64> {
        let now_ns = self.masker.now_ns();
        let mut applied = self.applied.lock().await;
        let catalog = self.masker.catalog().snapshot();
        let gone = expired(&catalog.segments, &self.settings, now_ns);
        let mut rows = self.masker.expire(Vec::new(), gone).await?;

        let catalog = self.masker.catalog().snapshot();
        let present: HashSet<SegmentId> = catalog.segments.iter().map(|segment| segment.id).collect();
        applied.retain(|id, _| present.contains(id));
        let rules = &self.settings.rules;
        let never = vec![i64::MIN; rules.len()];
        let due: Vec<_> = catalog
            .segments
            .iter()
            .map(|segment| {
                (segment, due(rules, segment.time, now_ns, applied.get(&segment.id).unwrap_or(&never)))
            })
            .filter(|(_, due)| !due.is_empty())
            .collect();
        for some in due.chunks(SEGMENTS_AT_ONCE) {
            let mut hidden = Vec::new();
            for (segment, due) in some {
                if stop.is_cancelled() {
                    return Ok(rows);
                }
                let cutoff = |(number, rule)| due.contains(&number).then(|| cutoff(rule, now_ns));
                let cutoffs: Vec<_> = rules.iter().enumerate().map(cutoff).collect();
                let condition = expired_by(&self.conditions, &cutoffs);
                hidden.extend(self.masker.rows(&catalog, Arc::clone(segment), &condition).await?);
            }
            rows += self.masker.expire(hidden, Vec::new()).await?;
            for (segment, due) in some {
                let until = applied.entry(segment.id).or_insert_with(|| never.clone());
                for rule in due {
                    until[*rule] = cutoff(&rules[*rule], now_ns);
                }
            }
        }
        Ok(rows)
    }
}

fn cutoff(rule: &RetentionRule, now_ns: i64) -> i64 {
    now_ns.saturating_sub(i64::try_from(rule.keep.as_nanos()).unwrap_or(i64::MAX))
}

/// The segments that go as a whole: all their events have expired, or there is no room for them.
fn expired(
    segments: &[Arc<SegmentMeta>],
    settings: &RetentionSettings,
    now_ns: i64,
) -> Vec<Arc<SegmentMeta>> {
    // After a rule that fits everything no other matters.
    let last = settings.rules.iter().position(|rule| rule.condition.is_none());
    let decisive = last.map(|last| &settings.rules[..=last]).unwrap_or_default();
    let oldest = decisive.iter().map(|rule| cutoff(rule, now_ns)).min();
    let is_old = |segment: &&Arc<SegmentMeta>| oldest.is_some_and(|ns| is_before(segment.time, ns));
    let (mut gone, mut kept): (Vec<_>, Vec<_>) = segments.iter().partition(is_old);
    if let Some(bytes_max) = settings.bytes_max {
        // Newest first, as in the catalog.
        let mut bytes = 0;
        let room = kept.iter().take_while(|segment| {
            bytes += segment.bytes + segment.index.unwrap_or(0);
            bytes <= bytes_max
        });
        let room = room.count();
        gone.extend(kept.split_off(room));
    }
    gone.into_iter().cloned().collect()
}

/// The rules that are to be applied to a segment, by their place. `applied` is up to which time each was.
fn due(rules: &[RetentionRule], time: TimeRange, now_ns: i64, applied: &[i64]) -> Vec<usize> {
    let is_due = |(rule, applied): (&RetentionRule, &i64)| {
        let cutoff = cutoff(rule, now_ns);
        if cutoff <= time.min_ns || *applied > time.max_ns {
            return false;
        }
        let slack = u64::try_from(rule.keep.as_nanos() / 8).unwrap_or(u64::MAX);
        let since = (*applied).max(time.min_ns);
        is_before(time, cutoff) || cutoff > since && cutoff.abs_diff(since) >= slack
    };
    rules.iter().zip(applied).enumerate().filter(|(_, pair)| is_due(*pair)).map(|(i, _)| i).collect()
}

/// The events that have expired by rules with these conditions. A rule that is due has the time before which
/// its events have expired.
fn expired_by(conditions: &[Option<Condition>], cutoffs: &[Option<i64>]) -> Condition {
    let mut cases = Vec::new();
    for (condition, cutoff) in conditions.iter().zip(cutoffs) {
        let has_expired = cutoff.map_or(Condition::always(false), Condition::before);
        match condition {
            Some(condition) => cases.push((condition.clone(), has_expired)),
            // It fits every event that no rule before it fits.
            None => return Condition::by_first(cases, has_expired),
        }
    }
    Condition::by_first(cases, Condition::always(false))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn rule(condition: Option<&str>, seconds: u64) -> RetentionRule {
        RetentionRule { condition: condition.map(str::to_owned), keep: Duration::from_secs(seconds) }
    }

    fn segment(min: i64, max: i64, bytes: u64) -> Arc<SegmentMeta> {
        let time = TimeRange { min_ns: min * SECOND_NS, max_ns: max * SECOND_NS };
        Arc::new(SegmentMeta {
            id: SegmentId::new(1),
            bytes,
            column_bytes: 0,
            index: None,
            rows: 1,
            time,
            mask: None,
        })
    }

    fn gone(segments: &[Arc<SegmentMeta>], rules: Vec<RetentionRule>, bytes_max: Option<u64>) -> Vec<usize> {
        let settings = RetentionSettings { rules, bytes_max };
        let gone = expired(segments, &settings, 1000 * SECOND_NS);
        let place = |g: &Arc<SegmentMeta>| segments.iter().position(|s| Arc::ptr_eq(s, g)).unwrap();
        gone.iter().map(place).collect()
    }

    #[test]
    fn a_segment_goes_as_a_whole_when_the_longest_rule_has_passed() {
        let segments = [segment(900, 999, 1), segment(500, 899, 1), segment(0, 499, 1)];
        assert_eq!(gone(&segments, vec![rule(None, 101)], None), [2]);
        assert_eq!(gone(&segments, vec![rule(None, 100)], None), [1, 2]);
        assert_eq!(gone(&segments, vec![rule(Some("a"), 500), rule(None, 1)], None), [2]);
        assert_eq!(
            gone(&segments, vec![rule(None, 1), rule(Some("a"), 500)], None),
            [1, 2],
            "the first rule fits all"
        );
        assert!(gone(&segments, vec![rule(Some("a"), 1)], None).is_empty(), "what no rule fits is kept");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let segments = [segment(900, 999, 10), segment(500, 899, 10), segment(0, 499, 10)];
        assert_eq!(gone(&segments, vec![], Some(30)), [0; 0]);
        assert_eq!(gone(&segments, vec![], Some(29)), [2]);
        assert_eq!(gone(&segments, vec![], Some(9)), [0, 1, 2]);
        assert_eq!(gone(&segments, vec![rule(None, 500)], Some(10)), [2, 1]);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let condition = |name: &str| Some(Condition::new(sqlparser::ast::Expr::Identifier(name.into())));
        let printed = |conditions: &[Option<Condition>], cutoffs: &[Option<i64>]| {
            expired_by(conditions, cutoffs).to_string()
        };
        let before = |second: u32| format!("\"timestamp\" < '1970-01-01T00:00:{second:02}.000000000Z'");
        let rules = [condition("a"), condition("b"), None, condition("c")];
        let cutoffs = [Some(9 * SECOND_NS), None, Some(7 * SECOND_NS), Some(5 * SECOND_NS)];
        assert_eq!(
            printed(&rules, &cutoffs),
            format!("CASE WHEN a THEN {} WHEN b THEN false ELSE {} END", before(9), before(7))
        );
        assert_eq!(
            printed(&rules[..1], &cutoffs[..1]),
            format!("CASE WHEN a THEN {} ELSE false END", before(9))
        );
        assert_eq!(printed(&rules[2..3], &cutoffs[2..3]), before(7));
        assert_eq!(printed(&[], &[]), "false");
    }

    proptest! {
        #[test]
        fn every_event_is_covered_by_nine_eighths_of_its_age_and_rules_are_applied_a_few_times(
            keep in 8_u64..1000,
            length in 0_i64..5000,
            pass in 1_i64..50,
        ) {
            let rules = [rule(None, keep)];
            let time = TimeRange { min_ns: 0, max_ns: length * SECOND_NS };
            let (mut applied, mut times) = (vec![i64::MIN], 0);
            for now in (0..).step_by(pass as usize) {
                let now_ns = now * SECOND_NS;
                if !due(&rules, time, now_ns, &applied).is_empty() {
                    applied[0] = cutoff(&rules[0], now_ns);
                    times += 1;
                }
                prop_assert!(applied[0] <= cutoff(&rules[0], now_ns), "nothing goes too early");
                let too_old = now_ns - keep as i64 * SECOND_NS * 9 / 8 - pass * SECOND_NS;
                prop_assert!(applied[0] >= too_old.min(time.max_ns) || too_old < 0, "nothing stays too long");
                if applied[0] > time.max_ns {
                    break;
                }
            }
            prop_assert!(times <= length * 8 / keep as i64 + 2, "{times}");
            prop_assert!(due(&rules, time, i64::MAX, &applied).is_empty(), "it is done for good");
        }
    }
}
