//! An aggregation's expressions, compiled.

use acequia_crds::expression::Expression;
use acequia_crds::pipeline::aggregation::{
    Aggregation, Measure as MeasureSpec, MeasureKind as KindSpec, WindowKind,
};
use acequia_crds::pipeline::transform;

use super::day::{Days, KnownDay};
use super::{Rest, Scratch};
use crate::aggregator::measure::{Measure, MeasureKind};
use crate::command::InvalidConfig;
use crate::expression::{FieldPaths, FieldSpans, Format, Layout, Program};

/// Most lookups that an aggregation can have.
const LOOKUPS: usize = 10;
/// Most documents beside a record: the rows looked up, and an element of its list.
pub(super) const DOCUMENTS: usize = LOOKUPS + 1;

/// What is read of a record, and how: an aggregation's expressions, compiled.
#[derive(Clone, Debug)]
pub struct RecordPlan {
    pub(super) table: Table,
    pub(super) layout: Layout,
    pub(super) event_time: EventTime,
    /// The list; each element is the first of the documents.
    pub(super) explode: Option<Part>,
    /// The key of each lookup; the rows are the last of the documents.
    pub(super) lookups: Vec<Part>,
    pub(super) filter: Option<Filter>,
    pub(super) group: Vec<Part>,
    pub(super) inputs: Vec<InputPlan>,
    pub(super) days: Days,
    measures: Vec<Measure>,
}

/// Whether records are rows of a table.
#[derive(Clone, Debug)]
pub(super) enum Table {
    /// They are events.
    None,
    /// They are Debezium's change events.
    Changes,
    /// They are rows themselves; of each value the latest counts.
    Latest { paths: FieldPaths, by: Program },
}

/// Where the time of a record comes from.
#[derive(Clone, Debug)]
pub(super) enum EventTime {
    /// It needs none.
    None,
    /// Kafka's time of the record.
    Record,
    /// An expression.
    Value(Part),
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The field of the aggregation, for messages.
    pub field: String,
    pub program: Program,
}

/// The aggregation's `where`.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub part: Part,
    /// It refers to no lookup, so that a record that doesn't count needn't wait for one.
    pub before_lookups: bool,
}

/// What a record gives to one measure.
#[derive(Clone, Debug)]
pub(super) struct InputPlan {
    pub filter: Option<Part>,
    /// None: a count.
    pub value: Option<Part>,
    pub today: Option<Part>,
}

impl RecordPlan {
    /// Compiles an aggregation.
    ///
    /// # Errors
    /// An expression can't be evaluated where it stands, a measure or the window is not available in this version, or
    /// the time zone doesn't exist. The path is the field of the aggregation.
    pub fn new(aggregation: &Aggregation) -> Result<Self, InvalidConfig> {
        let format = match aggregation.format {
            transform::Format::Json => Format::Json,
            transform::Format::Debezium => Format::Debezium,
        };
        if aggregation.lookups.len() > LOOKUPS {
            return Err(refused("lookups", format!("are more than {LOOKUPS}; leave some out")));
        }
        let mut compiler = Compiler { format, layout: Layout::default() };
        let event_time = event_time(aggregation, &mut compiler)?;
        let mut explode = None;
        if let Some(list) = &aggregation.explode {
            explode = Some(compiler.part(&list.value, "explode.value".to_owned())?);
            compiler.layout.add_document(&list.name);
        }
        let mut lookups = Vec::new();
        for (index, lookup) in aggregation.lookups.iter().enumerate() {
            lookups.push(compiler.part(&lookup.key, format!("lookups[{index}].match"))?);
            compiler.layout.add_document(&lookup.name);
        }
        let filter = filter(aggregation, &mut compiler)?;
        let group = aggregation.group_by.iter().enumerate();
        let group = group
            .map(|(index, part)| compiler.part(&part.value, format!("groupBy[{index}].value")))
            .collect::<Result<_, _>>()?;
        let mut measures = Vec::new();
        let mut inputs = Vec::new();
        for (index, spec) in aggregation.measures.iter().enumerate() {
            let (measure, input) = compiler.measure(spec, &format!("measures[{index}]"))?;
            measures.push(measure);
            inputs.push(input);
        }
        let days = Days::new(aggregation.time_zone.as_deref())
            .map_err(|error| refused("timeZone", format!("can't be used: {error}")))?;
        let table = table(aggregation)?;
        let layout = compiler.layout;
        Ok(Self { table, layout, event_time, explode, lookups, filter, group, inputs, days, measures })
    }

    /// The measures, in the order of the inputs of a contribution.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// Whether records are rows of a table, so that a record replaces what its row contributed before.
    pub fn is_table(&self) -> bool {
        !matches!(self.table, Table::None)
    }

    /// The number of the day that a time falls on in the aggregation's time zone, counted from 1970-01-01.
    pub fn day(&self, ms: i64) -> i32 {
        self.days.number(ms, &mut KnownDay::default()).unwrap_or(0)
    }

    /// Memory for reading records with this plan.
    pub fn scratch(&self) -> Scratch {
        let documents = self.layout.documents().map(|_| FieldSpans::default()).collect();
        let days = vec![KnownDay::default(); self.inputs.len()];
        Scratch { record: FieldSpans::default(), rest: Rest { documents, days, key: Vec::new() } }
    }
}

fn refused(path: impl Into<String>, problem: impl Into<String>) -> InvalidConfig {
    InvalidConfig::Refused { path: path.into(), problem: problem.into() }
}

fn event_time(aggregation: &Aggregation, compiler: &mut Compiler) -> Result<EventTime, InvalidConfig> {
    match (&aggregation.event_time, aggregation.window.kind()) {
        (Some(text), _) => compiler.part(text, "eventTime".to_owned()).map(EventTime::Value),
        (None, Some(WindowKind::Global)) => Ok(EventTime::None),
        (None, _) => Ok(EventTime::Record),
    }
}

fn filter(aggregation: &Aggregation, compiler: &mut Compiler) -> Result<Option<Filter>, InvalidConfig> {
    let Some(text) = &aggregation.filter else { return Ok(None) };
    let part = compiler.part(text, "where".to_owned())?;
    let looks_up = |name: &str| aggregation.lookups.iter().any(|lookup| lookup.name == name);
    let variables = parsed(text, "where")?;
    let before_lookups = !variables.variables().iter().any(|variable| looks_up(&variable.name));
    Ok(Some(Filter { part, before_lookups }))
}

fn table(aggregation: &Aggregation) -> Result<Table, InvalidConfig> {
    match (aggregation.format, &aggregation.latest_by) {
        (transform::Format::Debezium, None) => Ok(Table::Changes),
        (transform::Format::Debezium, Some(_)) => Err(refused(
            "latestBy",
            "is for `format: json`; rows of a change topic have their table's key already",
        )),
        (transform::Format::Json, None) => Ok(Table::None),
        (transform::Format::Json, Some(text)) => {
            let mut compiler = Compiler { format: Format::Json, layout: Layout::default() };
            let by = compiler.part(text, "latestBy".to_owned())?.program;
            Ok(Table::Latest { paths: compiler.layout.record().clone(), by })
        }
    }
}

fn parsed(text: &str, path: &str) -> Result<Expression, InvalidConfig> {
    Expression::parse(text).map_err(|error| refused(path, format!("(`{text}`) is no expression: {error}")))
}

struct Compiler {
    format: Format,
    layout: Layout,
}

impl Compiler {
    /// Compiles the expression of a field.
    fn part(&mut self, text: &str, field: String) -> Result<Part, InvalidConfig> {
        let expression = parsed(text, &field)?;
        if expression.variables().iter().any(|variable| variable.name == "now") {
            let problem = "refers to `now`, which is another time when records are read again; use a field of the record";
            return Err(refused(field, problem));
        }
        match Program::over(&expression, self.format, &mut self.layout) {
            Ok(program) => Ok(Part { field, program }),
            Err(error) => Err(refused(field, format!("(`{text}`) can't be evaluated: {error}"))),
        }
    }

    fn optional(&mut self, text: Option<&String>, field: String) -> Result<Option<Part>, InvalidConfig> {
        text.map(|text| self.part(text, field)).transpose()
    }

    fn measure(&mut self, spec: &MeasureSpec, path: &str) -> Result<(Measure, InputPlan), InvalidConfig> {
        let Some(computed) = spec.kind() else {
            return Err(refused(path, "needs exactly one of `count`, `sum`, `avg`, `min` and `max`"));
        };
        let kind = match computed {
            KindSpec::Count => MeasureKind::Count,
            KindSpec::Sum(_) => MeasureKind::Sum,
            KindSpec::Avg(_) => MeasureKind::Avg,
            KindSpec::Min(_) => MeasureKind::Min,
            KindSpec::Max(_) => MeasureKind::Max,
            KindSpec::CountDistinct(_) => {
                let problem = "is not available in this version; use `count`";
                return Err(refused(format!("{path}.countDistinct"), problem));
            }
        };
        let value = match computed.expression() {
            Some(text) => Some(self.part(text, format!("{path}.{}", computed.field()))?),
            None => None,
        };
        let filter = self.optional(spec.filter.as_ref(), format!("{path}.where"))?;
        let today = self.optional(spec.today.as_ref(), format!("{path}.today"))?;
        let measure = Measure { name: spec.name.clone(), kind, daily: today.is_some() };
        Ok((measure, InputPlan { filter, value, today }))
    }
}
