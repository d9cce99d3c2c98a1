//! What must be in the database? A plain list of batches, with the answers that their producers got.

use std::collections::BTreeMap;
use std::ops::Range;

/// State of a batch, by the answers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No answer, or one that promises nothing: the batch may be there, as a whole, or not.
    Open,
    /// Its producer was told that it is durable: the batch is there.
    Acknowledged,
    /// Acknowledged by another process: every process that opens the database from now on sees it.
    Elsewhere,
    /// Reported as not stored, or not there after a recovery: the batch is not there.
    Absent,
    /// Deletion running or unanswered: the batch may be there, as a whole, or not.
    Deleting,
    /// Deletion acknowledged: no later snapshot sees the batch.
    Deleted,
}

/// All batches ever appended. The events of a batch are numbered consecutively.
#[derive(Debug, Default)]
pub(super) struct Model {
    batches: Vec<(Range<i64>, Fate)>,
    /// Batch of each event.
    batch_of: Vec<usize>,
}

/// Index of a batch in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchId(usize);

impl Model {
    /// Begins a batch of `events` events, and returns their numbers.
    pub(super) fn begin(&mut self, events: usize) -> (BatchId, Range<i64>) {
        let first = self.batch_of.len() as i64;
        let (id, numbers) = (self.batches.len(), first..first + events as i64);
        self.batch_of.extend(std::iter::repeat_n(id, events));
        self.batches.push((numbers.clone(), Fate::Open));
        (BatchId(id), numbers)
    }

    /// Records an answer, which may come late: another process may have recovered meanwhile, and deleted the batches
    /// that it found.
    pub(super) fn told(&mut self, BatchId(id): BatchId, fate: Fate) {
        let known = &mut self.batches[id].1;
        match (*known, fate) {
            (_, Fate::Open) | (Fate::Deleting | Fate::Deleted, Fate::Acknowledged) => {}
            _ => *known = fate,
        }
    }

    /// Begins the deletion of a batch that was acknowledged in `told` and still is, if there is one; `dice` chooses it.
    pub(super) fn begin_deletion(
        &mut self,
        told: &[Fate],
        dice: impl Fn(usize) -> usize,
    ) -> Option<(BatchId, Range<i64>)> {
        let is_there = |id: &usize| [told[*id], self.batches[*id].1] == [Fate::Acknowledged; 2];
        let there: Vec<usize> = (0..told.len()).filter(is_there).collect();
        let id = *there.get(dice(there.len().max(1)))?;
        self.batches[id].1 = Fate::Deleting;
        Some((BatchId(id), self.batches[id].0.clone()))
    }

    /// Returns all answers up to now, as the process that has the database open knows them.
    pub(super) fn told_here(&self) -> Vec<Fate> {
        self.batches.iter().map(|(_, fate)| *fate).collect()
    }

    /// Returns all answers up to now, as they bind a process that opens the database.
    pub(super) fn told_anywhere(&self) -> Vec<Fate> {
        let fates = self.told_here().into_iter();
        fates.map(|fate| if fate == Fate::Elsewhere { Fate::Acknowledged } else { fate }).collect()
    }

    /// Number of batches that must be there.
    pub(super) fn acknowledged(&self) -> usize {
        self.batches.iter().filter(|(_, fate)| *fate == Fate::Acknowledged).count()
    }

    /// Compares the numbers of all events that a reader sees with the answers given before it looked. The error
    /// describes the broken promise.
    pub(super) fn check(&self, seen: &[i64], told: &[Fate]) -> Result<(), String> {
        let mut times = vec![0_u32; self.batch_of.len()];
        for n in seen {
            *times.get_mut(*n as usize).ok_or_else(|| format!("event {n} was never handed in"))? += 1;
        }
        for (id, (numbers, fate)) in self.batches.iter().enumerate() {
            let of_batch = &times[numbers.start as usize..numbers.end as usize];
            let wrong = |what: &str| {
                Err(format!("batch {id} with the events {numbers:?} {what}: {of_batch:?} times"))
            };
            if of_batch.iter().any(|times| *times > 1) {
                return wrong("is there more than once");
            }
            let there = of_batch.iter().filter(|times| **times == 1).count();
            if there != 0 && there != of_batch.len() {
                return wrong("is there in part");
            }
            let is_deleted = matches!(fate, Fate::Deleting | Fate::Deleted);
            if there == 0 && told.get(id) == Some(&Fate::Acknowledged) && !is_deleted {
                return wrong("was acknowledged and is lost");
            }
            if there != 0 && told.get(id) == Some(&Fate::Deleted) {
                return wrong("was deleted and is there");
            }
            if there != 0 && *fate == Fate::Absent {
                return wrong("was refused, or gone after a recovery, and is there");
            }
        }
        Ok(())
    }

    /// Settles open batches after a recovery: those that are there stay, the others never appear. Counts both.
    pub(super) fn settle(&mut self, seen: &[i64]) -> BTreeMap<&'static str, u64> {
        let mut settled = BTreeMap::new();
        let open = [Fate::Open, Fate::Elsewhere, Fate::Deleting];
        for (numbers, fate) in self.batches.iter_mut().filter(|(_, fate)| open.contains(fate)) {
            let there = seen.contains(&numbers.start);
            let what = match (*fate, there) {
                (Fate::Deleting, true) => "deletions unanswered and not done",
                (Fate::Deleting, false) => "deletions unanswered and done",
                (_, true) => "unanswered and there",
                (_, false) => "unanswered and not there",
            };
            *fate = if there { Fate::Acknowledged } else { Fate::Absent };
            *settled.entry(what).or_default() += 1;
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_being_wrong_is_noticed() {
        let mut model = Model::default();
        let (a, _) = model.begin(2);
        let (b, _) = model.begin(2);
        let (_open, _) = model.begin(1);
        let (deleted, _) = model.begin(2);
        let before = model.told_here();
        model.told(deleted, Fate::Acknowledged);
        assert_eq!(model.begin_deletion(&model.told_here(), |_| 0), Some((deleted, 5..7)));
        assert_eq!(model.check(&[], &model.told_here()), Ok(()), "nobody was told");
        assert_eq!(model.check(&[5, 6], &model.told_here()), Ok(()));
        model.told(deleted, Fate::Deleted);
        assert_eq!(model.check(&[5, 6], &before), Ok(()), "who looked before may see it");
        model.told(a, Fate::Acknowledged);
        model.told(b, Fate::Absent);
        let says = |seen: &[i64]| model.check(seen, &model.told_here()).err().unwrap_or_default();
        assert_eq!(says(&[0, 1]), "");
        assert_eq!(says(&[1, 4, 0]), "");
        assert!(says(&[4]).contains("lost"));
        assert!(says(&[0]).contains("in part"));
        assert!(says(&[0, 1, 4, 4]).contains("more than once"));
        assert!(says(&[0, 1, 2, 3]).contains("refused"));
        assert!(says(&[0, 1, 7]).contains("never handed in"));
        assert!(says(&[0, 1, 5, 6]).contains("deleted"));
        assert_eq!(model.check(&[], &[Fate::Open]), Ok(()), "nobody had been told anything");
        assert_eq!(model.settle(&[0, 1]), BTreeMap::from([("unanswered and not there", 1)]));
        assert!(model.check(&[0, 1, 4], &[]).is_err(), "what was gone does not come back");
    }
}
