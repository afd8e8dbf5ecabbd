//! Reading a record.

use rust_decimal::Decimal;

use super::day::KnownDay;
use super::envelope::UNAVAILABLE;
use super::event_time::millis;
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
                let value = part.evaluate(view)?;
                let time = millis(&value).map_err(|problem| part.wrong(problem))?;
                time.ok_or_else(|| part.wrong(format!("is {}, where a time is needed", value.kind())))
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
        let value = part.evaluate(view)?;
        if let (Table::Changes, Value::Text(text)) = (&self.table, &value)
            && text == UNAVAILABLE
        {
            let problem =
                "is a large value that the change left out; set REPLICA IDENTITY FULL on the source table";
            return Err(part.wrong(problem));
        }
        group::scalar(&value, group).map_err(|problem| part.wrong(problem))
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
            Some(part) => input::number(&part.evaluate(view)?).map_err(|problem| part.wrong(problem))?,
        };
        let Some(value) = value else { return Ok(None) };
        let Some(today) = &plan.today else { return Ok(Some(Input { value, day: 0 })) };
        let time = millis(&today.evaluate(view)?).map_err(|problem| today.wrong(problem))?;
        let Some(time) = time else { return Ok(None) };
        let day = self.days.number(time, known);
        let day = day.ok_or_else(|| today.wrong("is a time beyond the calendar"))?;
        Ok(Some(Input { value, day }))
    }
}

impl Part {
    fn evaluate<'r>(&self, view: &View<'r, '_>) -> Result<Value<'r>, Rejected> {
        self.program.evaluate_view(view).map_err(|error| Rejected::at(&self.field, error))
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
