//! Reading a record.

use rust_decimal::Decimal;

use super::day::KnownDay;
use super::envelope::UNAVAILABLE;
use super::event_time::{millis, usual_millis};
use super::lookup::key_text;
use super::plan::{DOCUMENTS, EventTime, InputPlan, Part, RecordPlan, Table};
use super::{Found, Lookups, Reading, Rejected, Rest, Scratch, Unread, group, input};
use crate::aggregator::measure::Input;
use crate::expression::{Fields, Value, View, elements};
use crate::record::RecordView;

/// What a row reads as that is known not to be there.
const NOTHING: &[u8] = b"null";

impl RecordPlan {
    /// Reads what a record contributes; of a table, what its row contributes after the change. On an error the reading
    /// holds no contribution.
    ///
    /// # Errors
    /// The record can't be read, or has to wait for a row.
    pub fn read(
        &self,
        record: &RecordView<'_>,
        lookups: &impl Lookups,
        reading: &mut Reading,
        scratch: &mut Scratch,
    ) -> Result<(), Unread> {
        reading.clear(self.inputs.len());
        let result = self.fill(record, lookups, reading, scratch);
        if result.is_err() {
            reading.clear(self.inputs.len());
        }
        result
    }

    fn fill(
        &self,
        record: &RecordView<'_>,
        lookups: &impl Lookups,
        reading: &mut Reading,
        scratch: &mut Scratch,
    ) -> Result<(), Unread> {
        let Scratch { record: spans, rest } = scratch;
        let fields = self
            .layout
            .record()
            .read(record.value, spans)
            .map_err(|error| Rejected::new(error.to_string()))?;
        let view = View { record, fields, documents: &[] };
        reading.event_ms = self.event_ms(&view)?;
        if self.explode.is_none() && self.lookups.is_empty() {
            if self.passes(true, &view)? {
                self.contribute(&view, reading, &mut rest.days)?;
            }
            return Ok(());
        }
        let Some(explode) = &self.explode else {
            return self.element(&view, None, lookups, reading, rest);
        };
        match explode.evaluate(&view)? {
            Value::Absent | Value::Null => Ok(()),
            Value::Json(list) if list.starts_with('[') => elements(&list)
                .try_for_each(|element| self.element(&view, Some(element), lookups, reading, rest)),
            other => Err(explode.wrong(format!("is {}, where a list is needed", other.kind())).into()),
        }
    }

    fn event_ms(&self, view: &View<'_, '_>) -> Result<i64, Rejected> {
        match &self.event_time {
            EventTime::None => Ok(0),
            EventTime::Record => Ok(view.record.timestamp_ms),
            EventTime::Value(part) => {
                part.time(view)?.ok_or_else(|| part.wrong("is null or isn't there, where a time is needed"))
            }
        }
    }

    /// Reads the documents beside the record, then what all of them contribute together.
    fn element<'d>(
        &self,
        view: &View<'d, '_>,
        element: Option<&'d str>,
        lookups: &'d impl Lookups,
        reading: &mut Reading,
        rest: &mut Rest,
    ) -> Result<(), Unread> {
        let Rest { documents: spans, days, key } = rest;
        let mut documents: [Option<Fields<'d, '_>>; DOCUMENTS] = [None; DOCUMENTS];
        let mut places = self.layout.documents().zip(spans);
        let mut count = 0;
        if let Some(element) = element
            && let Some((paths, spans)) = places.next()
        {
            let fields = paths.read(element.as_bytes(), spans);
            documents[count] = Some(fields.map_err(|error| Rejected::new(error.to_string()))?);
            count += 1;
        }
        if !self.passes(true, &View { documents: &documents[..count], ..*view })? {
            return Ok(());
        }
        for (index, (lookup, (paths, spans))) in self.lookups.iter().zip(places).enumerate() {
            let view = View { documents: &documents[..count], ..*view };
            let row = row(index, lookup, &view, lookups, key)?;
            let fields =
                paths.read(row, spans).map_err(|error| lookup.wrong(format!("found a row: {error}")))?;
            documents[count] = Some(fields);
            count += 1;
        }
        let view = View { documents: &documents[..count], ..*view };
        if self.passes(false, &view)? {
            self.contribute(&view, reading, days)?;
        }
        Ok(())
    }

    /// Whether `where` is true, as far as it is decided before or after the lookups.
    fn passes(&self, before_lookups: bool, view: &View<'_, '_>) -> Result<bool, Rejected> {
        match &self.filter {
            Some(filter) if filter.before_lookups == before_lookups => filter.part.holds(view),
            _ => Ok(true),
        }
    }

    fn contribute(
        &self,
        view: &View<'_, '_>,
        reading: &mut Reading,
        days: &mut [KnownDay],
    ) -> Result<(), Rejected> {
        let group = reading.group();
        group.push(b'[');
        for (index, part) in self.group.iter().enumerate() {
            if index > 0 {
                group.push(b',');
            }
            self.group_value(part, view, group)?;
        }
        group.push(b']');
        for (plan, known) in self.inputs.iter().zip(days) {
            let input = self.input(plan, view, known)?;
            reading.push(input);
        }
        reading.finish();
        Ok(())
    }

    fn group_value(&self, part: &Part, view: &View<'_, '_>, group: &mut Vec<u8>) -> Result<(), Rejected> {
        let start = group.len();
        match part.program.json_of_view(view) {
            Some(json) if group::is_canonical(json) => group.extend_from_slice(json.as_bytes()),
            _ => group::scalar(&part.evaluate(view)?, group).map_err(|problem| part.wrong(problem))?,
        }
        if matches!(self.table, Table::Changes) && group.get(start..) == Some(UNAVAILABLE) {
            let problem =
                "is a large value that the change left out; set REPLICA IDENTITY FULL on the source table";
            return Err(part.wrong(problem));
        }
        Ok(())
    }

    fn input(
        &self,
        plan: &InputPlan,
        view: &View<'_, '_>,
        known: &mut KnownDay,
    ) -> Result<Option<Input>, Rejected> {
        if let Some(filter) = &plan.filter
            && !filter.holds(view)?
        {
            return Ok(None);
        }
        let value = match &plan.value {
            None => Some(Decimal::ONE),
            Some(part) => part.number(view)?,
        };
        let Some(value) = value else { return Ok(None) };
        let Some(today) = &plan.today else { return Ok(Some(Input { value, day: 0 })) };
        let Some(time) = today.time(view)? else { return Ok(None) };
        let day = self.days.number(time, known);
        let day = day.ok_or_else(|| today.wrong("is a time beyond the calendar"))?;
        Ok(Some(Input { value, day }))
    }
}

impl Part {
    fn evaluate<'r>(&self, view: &View<'r, '_>) -> Result<Value<'r>, Rejected> {
        self.program.evaluate_view(view).map_err(|error| Rejected::at(&self.field, error))
    }

    /// The exact number, if there is one. What most records have is read from its JSON at once.
    fn number(&self, view: &View<'_, '_>) -> Result<Option<Decimal>, Rejected> {
        let usual = self.program.json_of_view(view).and_then(input::usual_number);
        if usual.is_some() {
            return Ok(usual);
        }
        input::number(&self.evaluate(view)?).map_err(|problem| self.wrong(problem))
    }

    /// The time, if there is one, in milliseconds since 1970.
    fn time(&self, view: &View<'_, '_>) -> Result<Option<i64>, Rejected> {
        let usual = self.program.json_of_view(view).and_then(usual_millis);
        if usual.is_some() {
            return Ok(usual);
        }
        millis(&self.evaluate(view)?).map_err(|problem| self.wrong(problem))
    }

    fn holds(&self, view: &View<'_, '_>) -> Result<bool, Rejected> {
        match self.evaluate(view)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(self.wrong(format!("is {}, where true or false is needed", other.kind()))),
        }
    }

    /// `problem`: the rest of a sentence that begins with the expression.
    fn wrong(&self, problem: impl std::fmt::Display) -> Rejected {
        Rejected::at(&self.field, format_args!("`{}` {problem}", self.program.text()))
    }
}

/// The JSON document that a lookup finds.
fn row<'d>(
    index: usize,
    lookup: &Part,
    view: &View<'_, '_>,
    lookups: &'d impl Lookups,
    buffer: &mut Vec<u8>,
) -> Result<&'d [u8], Unread> {
    let value = lookup.evaluate(view)?;
    let Some(key) = key_text(&value, buffer).map_err(|problem| lookup.wrong(problem))? else {
        return Ok(NOTHING);
    };
    match lookups.row(index, key) {
        Found::Row(row) => Ok(row),
        Found::Absent => Ok(NOTHING),
        Found::Missing => Err(Unread::Missing { lookup: index, key: key.to_owned() }),
    }
}
