//! Which events are too old, or too many?
//!
//! A rule keeps the events that match its condition for a given time. The first matching rule decides about an event;
//! events without a matching rule are kept. Segments whose events have all expired leave the catalog at once. In
//! others the expired rows are hidden like deleted ones; compaction removes them when they are a quarter.
//!
//! ```text
//! rule 1: 90 days where status = 'error'           segments   ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇ ▇▇▇▇▇  time ─▶
//! rule 2: 14 days                                              drop │ errors only   │ all
//!                                                                 90 d            14 d
//! ```
//!
//! A rule is applied to a segment when the whole segment has passed the rule's age, or has passed an eighth of that
//! age since the last application. So an event is gone between `keep` and 9/8 `keep` after its time, and the
//! condition is evaluated a few times per segment.
//!
//! A condition may fail on a value, as a cast does on `'N/A'`. Then the segment keeps its events, since the rule that
//! decides about them is unknown; other segments and earlier rules are not affected.
//!
//! When segments exceed their byte limit, whole segments are removed, those with the oldest newest event first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Condition;
use super::masking::{Masker, is_before};
use crate::catalog::CatalogSnapshot;
use crate::config::{RetentionRule, RetentionSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TimeRange;
use crate::segment::{SegmentId, SegmentMeta};

/// Segments evaluated for one commit.
const SEGMENTS_AT_ONCE: usize = 64;

/// Shortest time between two applications of a rule: events that expire in between are hidden together.
const PERIOD: Duration = Duration::from_mins(1);

/// Hides and removes expired events.
#[derive(Debug)]
pub struct Retainer {
    masker: Arc<Masker>,
    settings: RetentionSettings,
    /// Condition of each rule.
    conditions: Vec<Option<Condition>>,
    /// Time up to which each rule was applied to a segment.
    applied: Mutex<HashMap<SegmentId, Vec<i64>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Retainer {
    /// Creates a retention of `settings`, which hides rows through `masker`. Fails with
    /// [`InvalidInput`](ErrorKind::InvalidInput), naming the rule, when a condition is wrong.
    pub async fn new(masker: Arc<Masker>, settings: RetentionSettings) -> Result<Self> {
        let matcher = Arc::clone(masker.matcher());
        let mut conditions = Vec::with_capacity(settings.rules.len());
        for (number, rule) in settings.rules.iter().enumerate() {
            let Some(text) = &rule.condition else {
                conditions.push(None);
                continue;
            };
            let named = |error: Error| error.context(name(number, rule));
            let condition = matcher.parse(text).map_err(named)?;
            matcher.check(&condition).await.map_err(named)?;
            conditions.push(Some(condition));
        }
        if let Some(last) = conditions.len().checked_sub(1).filter(|last| *last > 0) {
            let all = expired_by(&conditions, last, 0);
            matcher.check(&all).await.map_err(|e| e.context("all retention rules together"))?;
        }
        let (applied, one_at_a_time) = Default::default();
        Ok(Self { masker, settings, conditions, applied, one_at_a_time })
    }

    /// True if no event ever expires.
    pub fn keeps_all(&self) -> bool {
        self.settings.rules.is_empty() && self.settings.bytes_max.is_none()
    }

    /// Number of rules.
    pub fn rules(&self) -> usize {
        self.settings.rules.len()
    }

    /// Removes the segments whose events have all expired, and the oldest segments while there are too many bytes.
    /// Returns the number of events removed. Evaluates no condition.
    pub async fn remove_expired(&self) -> Result<u64> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let catalog = self.masker.catalog().snapshot();
        let gone = expired(&catalog.segments, &self.settings, self.masker.now_ns());
        self.masker.expire(Vec::new(), gone).await
    }

    /// Hides the events that have expired by rule number `rule`, counted from zero; returns their number. When `stop`
    /// is cancelled, the remaining segments wait for the next call.
    ///
    /// A segment in which the condition cannot be evaluated keeps its events and is retried at the next call; the error
    /// is returned after all other segments are done.
    pub async fn apply_rule(&self, rule: usize, stop: &CancellationToken) -> Result<u64> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let (now_ns, catalog) = (self.masker.now_ns(), self.masker.catalog().snapshot());
        let due = self.due(rule, &catalog, now_ns);
        let condition = expired_by(&self.conditions, rule, cutoff(&self.settings.rules[rule], now_ns));
        let (mut rows, mut failed, mut first_error) = (0, 0, None);
        for some in due.chunks(SEGMENTS_AT_ONCE) {
            let (mut hidden, mut done) = (Vec::new(), Vec::new());
            for segment in some {
                if stop.is_cancelled() {
                    return Ok(rows);
                }
                match self.masker.rows(&catalog, Arc::clone(segment), &condition).await {
                    Ok(found) => {
                        hidden.extend(found);
                        done.push(segment.id);
                    }
                    Err(error) if is_of_one_segment(&error) => {
                        failed += 1;
                        first_error.get_or_insert(error);
                    }
                    Err(error) => return Err(error.context(self.name(rule))),
                }
            }
            rows += self.masker.expire(hidden, Vec::new()).await?;
            self.note(rule, &done, now_ns);
        }
        let Some(error) = first_error else { return Ok(rows) };
        let kept = format!("the events of {failed} of {} segments are kept", due.len());
        Err(error.context(format!("{}: {kept}", self.name(rule))))
    }

    /// Time until a segment can be removed as a whole because of its age.
    pub fn due_in(&self) -> Option<Duration> {
        let keep = decisive(&self.settings).iter().map(keep_ns).max()?;
        let catalog = self.masker.catalog().snapshot();
        let oldest_ns = catalog.segments.iter().map(|segment| segment.time.max_ns).min()?;
        Some(self.after_period(oldest_ns.saturating_add(1).saturating_add(keep)))
    }

    /// Time until rule number `rule` is due in a segment.
    pub fn rule_due_in(&self, rule: usize) -> Option<Duration> {
        let catalog = self.masker.catalog().snapshot();
        let applied = self.applied.lock();
        let times = catalog.segments.iter().filter_map(|segment| {
            let applied = applied.get(&segment.id).map_or(i64::MIN, |applied| applied[rule]);
            due_at(&self.settings.rules[rule], segment.time, applied)
        });
        times.min().map(|at_ns| self.after_period(at_ns))
    }

    fn after_period(&self, at_ns: i64) -> Duration {
        let left_ns = at_ns.saturating_sub(self.masker.now_ns());
        Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)).max(PERIOD)
    }

    /// Returns the segments in which a rule is due.
    fn due(&self, rule: usize, catalog: &CatalogSnapshot, now_ns: i64) -> Vec<Arc<SegmentMeta>> {
        let mut applied = self.applied.lock();
        let present: HashSet<SegmentId> = catalog.segments.iter().map(|segment| segment.id).collect();
        applied.retain(|id, _| present.contains(id));
        let is_due = |segment: &&Arc<SegmentMeta>| {
            let applied = applied.get(&segment.id).map_or(i64::MIN, |applied| applied[rule]);
            due_at(&self.settings.rules[rule], segment.time, applied).is_some_and(|at_ns| now_ns >= at_ns)
        };
        catalog.segments.iter().filter(is_due).cloned().collect()
    }

    /// Records that a rule was applied to `segments`.
    fn note(&self, rule: usize, segments: &[SegmentId], now_ns: i64) {
        let rules = &self.settings.rules;
        let mut applied = self.applied.lock();
        for id in segments {
            let until = applied.entry(*id).or_insert_with(|| vec![i64::MIN; rules.len()]);
            until[rule] = cutoff(&rules[rule], now_ns);
        }
    }

    /// Name of rule number `rule` in error messages.
    fn name(&self, rule: usize) -> String {
        name(rule, &self.settings.rules[rule])
    }
}

fn name(number: usize, rule: &RetentionRule) -> String {
    let condition =
        rule.condition.as_deref().map_or_else(String::new, |condition| format!(", where {condition}"));
    format!("retention rule {}{condition}", number + 1)
}

/// True if an error concerns a single segment only.
fn is_of_one_segment(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Poisoned | ErrorKind::Conflict)
}

fn keep_ns(rule: &RetentionRule) -> i64 {
    i64::try_from(rule.keep.as_nanos()).unwrap_or(i64::MAX)
}

fn cutoff(rule: &RetentionRule, now_ns: i64) -> i64 {
    now_ns.saturating_sub(keep_ns(rule))
}

/// Returns rules that together decide about every event; empty when some events are kept for ever.
fn decisive(settings: &RetentionSettings) -> &[RetentionRule] {
    // Rules after one without a condition never apply.
    let last = settings.rules.iter().position(|rule| rule.condition.is_none());
    last.map(|last| &settings.rules[..=last]).unwrap_or_default()
}

/// Returns the segments to remove as a whole: all their events have expired, or the byte limit is exceeded.
fn expired(
    segments: &[Arc<SegmentMeta>],
    settings: &RetentionSettings,
    now_ns: i64,
) -> Vec<Arc<SegmentMeta>> {
    let oldest = decisive(settings).iter().map(|rule| cutoff(rule, now_ns)).min();
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

/// Returns the time at which a rule is due in a segment that covers `time`; none when it never is again. The rule was
/// last applied with the cutoff `applied`.
fn due_at(rule: &RetentionRule, time: TimeRange, applied: i64) -> Option<i64> {
    if applied > time.max_ns {
        return None;
    }
    let keep = keep_ns(rule);
    let since = applied.max(time.min_ns);
    let all = time.max_ns.saturating_add(1);
    Some(all.min(since.saturating_add((keep / 8).max(1))).saturating_add(keep))
}

/// Condition of the events older than `cutoff_ns` that rule number `rule` decides about: those that match it and no
/// earlier rule.
fn expired_by(conditions: &[Option<Condition>], rule: usize, cutoff_ns: i64) -> Condition {
    let mut cases = Vec::new();
    for earlier in &conditions[..rule] {
        let Some(condition) = earlier else { return Condition::always(false) };
        cases.push((condition.clone(), Condition::always(false)));
    }
    match &conditions[rule] {
        Some(condition) => {
            cases.push((condition.clone(), Condition::before(cutoff_ns)));
            Condition::by_first(cases, Condition::always(false))
        }
        None => Condition::by_first(cases, Condition::before(cutoff_ns)),
    }
}

#[cfg(test)]
mod tests {
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
        let rules = [condition("a"), condition("b"), None, condition("c")];
        let printed = |rule: usize, second: i64| expired_by(&rules, rule, second * SECOND_NS).to_string();
        let before = |second: u32| format!("\"timestamp\" < '1970-01-01T00:00:{second:02}.000000000Z'");
        assert_eq!(printed(0, 9), format!("CASE WHEN a THEN {} ELSE false END", before(9)));
        assert_eq!(printed(1, 8), format!("CASE WHEN a THEN false WHEN b THEN {} ELSE false END", before(8)));
        assert_eq!(printed(2, 7), format!("CASE WHEN a THEN false WHEN b THEN false ELSE {} END", before(7)));
        assert_eq!(printed(3, 5), "false", "the rule before fits all");
    }

    proptest! {
        #[test]
        fn every_event_is_covered_by_nine_eighths_of_its_age_and_rules_are_applied_a_few_times(
            keep in 8_u64..1000,
            length in 0_i64..5000,
            pass in 1_i64..50,
        ) {
            let rule = rule(None, keep);
            let time = TimeRange { min_ns: 0, max_ns: length * SECOND_NS };
            let (mut applied, mut times) = (i64::MIN, 0);
            for now in (0..).step_by(pass as usize) {
                let now_ns = now * SECOND_NS;
                if due_at(&rule, time, applied).is_some_and(|at_ns| now_ns >= at_ns) {
                    applied = cutoff(&rule, now_ns);
                    times += 1;
                }
                prop_assert!(applied <= cutoff(&rule, now_ns), "nothing goes too early");
                let too_old = now_ns - keep as i64 * SECOND_NS * 9 / 8 - pass * SECOND_NS;
                prop_assert!(applied >= too_old.min(time.max_ns) || too_old < 0, "nothing stays too long");
                if applied > time.max_ns {
                    break;
                }
            }
            prop_assert!(times <= length * 8 / keep as i64 + 2, "{times}");
            prop_assert!(due_at(&rule, time, applied).is_none(), "it is done for good");
        }
    }
}
