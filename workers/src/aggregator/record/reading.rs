//! What a record contributes.

use crate::aggregator::measure::Input;

/// What a record contributes; filled by [`RecordPlan::read`](super::RecordPlan::read), and kept from record to record
/// so that nothing is allocated.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// When it happened, in milliseconds since 1970; 0 in a global window without `eventTime`.
    pub event_ms: i64,
    /// Inputs of one contribution.
    measures: usize,
    /// All groups, one behind the other.
    groups: Vec<u8>,
    /// Where each group ends.
    ends: Vec<usize>,
    /// All inputs, one contribution's behind the other's.
    inputs: Vec<Option<Input>>,
}

/// What a record, or an element of its list, gives to one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution<'a> {
    /// The values of `groupBy` as a JSON array of scalars; equal values have equal bytes.
    pub group: &'a [u8],
    /// One a measure, in the order of the measures; none where it gives nothing to that measure.
    pub inputs: &'a [Option<Input>],
}

impl Reading {
    /// The contributions: several with `explode`, none where `where` is false or the list is empty.
    pub fn contributions(&self) -> impl Iterator<Item = Contribution<'_>> {
        self.ends.iter().enumerate().map(|(index, end)| {
            let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            let first = index * self.measures;
            Contribution {
                group: self.groups.get(start..*end).unwrap_or_default(),
                inputs: self.inputs.get(first..first + self.measures).unwrap_or_default(),
            }
        })
    }

    /// Forgets everything. `measures`: how many inputs each contribution is going to have.
    pub(super) fn clear(&mut self, measures: usize) {
        self.event_ms = 0;
        self.measures = measures;
        self.groups.clear();
        self.ends.clear();
        self.inputs.clear();
    }

    /// Where the group of the next contribution is written to.
    pub(super) fn group(&mut self) -> &mut Vec<u8> {
        &mut self.groups
    }

    /// The next input of the contribution.
    pub(super) fn push(&mut self, input: Option<Input>) {
        self.inputs.push(input);
    }

    /// The contribution has its group and an input for each measure.
    pub(super) fn finish(&mut self) {
        self.ends.push(self.groups.len());
    }
}
