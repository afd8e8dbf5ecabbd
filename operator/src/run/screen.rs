//! What a person sees of a run: a table that is redrawn in place on a terminal, a line for each change elsewhere, or
//! one JSON report a line for scripts.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use acequia_crds::pipeline::status::ConditionType;

use crate::model::plan::Change;
use crate::status::{ConnectorReport, Report, StageSummary};

/// How a run is shown.
#[derive(Debug)]
pub enum Screen {
    /// Redrawn in place; how many lines were drawn last.
    Table(usize),
    /// A line for each change.
    Lines,
    /// A report a line.
    Json,
}

impl Screen {
    /// A table on a terminal, lines elsewhere.
    pub fn for_people() -> Self {
        if std::io::stdout().is_terminal() { Self::Table(0) } else { Self::Lines }
    }

    /// Something to say that is no state.
    pub fn note(&mut self, text: &str) {
        match self {
            Self::Table(drawn) => {
                say(&format!("{}{text}\n", erase(*drawn)));
                *drawn = 0;
            }
            Self::Lines => say(&format!("{} {text}\n", clock())),
            Self::Json => {}
        }
    }

    /// Changes that are being made now.
    pub fn changes(&mut self, changes: &[Change]) {
        // Records are book-keeping.
        for change in changes.iter().filter(|change| !matches!(change, Change::Record { .. })) {
            self.note(&change.to_string());
        }
    }

    /// What is now, and was before.
    pub fn show(&mut self, before: Option<&Report>, now: &Report) {
        match self {
            Self::Table(drawn) => {
                let table = table(now, width());
                say(&format!("{}{table}", erase(*drawn)));
                *drawn = table.lines().count();
            }
            Self::Lines => {
                for line in news(before, now) {
                    say(&format!("{} {line}\n", clock()));
                }
            }
            Self::Json => {
                if before.is_none_or(|before| !news(Some(before), now).is_empty())
                    && let Ok(json) = serde_json::to_string(now)
                {
                    say(&format!("{json}\n"));
                }
            }
        }
    }
}

/// Writes to stdout. When nobody listens any more there is nobody to be told.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

/// Moves up over what was drawn and clears it.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

/// A line that wraps would spoil the redraw.
fn width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(120)
}

/// What has changed, a line each. Figures that move all the time are no news.
fn news(before: Option<&Report>, now: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in &now.stages {
        let old = before.and_then(|report| report.stages.iter().find(|old| old.id == stage.id));
        if old.is_none_or(|old| {
            (&old.state, &old.error, old.replicas) != (&stage.state, &stage.error, stage.replicas)
        }) {
            lines.push(stage_news(stage));
        }
    }
    for connector in &now.connectors {
        let old = before.and_then(|report| report.connectors.iter().find(|old| old.name == connector.name));
        if old.is_none_or(|old| (&old.state, &old.error) != (&connector.state, &connector.error)) {
            lines.push(connector_news(connector));
        }
    }
    let new = |now: &[String], before: &[String]| -> Vec<String> {
        now.iter().filter(|one| !before.contains(one)).cloned().collect()
    };
    let texts = |report: Option<&Report>| -> [Vec<String>; 2] {
        report.map_or_else(Default::default, |report| {
            let refused = report.refused.iter().map(|refusal| format!("refused: {refusal}")).collect();
            [refused, report.failures.iter().map(|failure| format!("failed: {failure}")).collect()]
        })
    };
    for (now, before) in texts(Some(now)).iter().zip(&texts(before)) {
        lines.extend(new(now, before));
    }
    if before.is_none_or(|before| headline(before) != headline(now)) {
        lines.push(headline(now));
    }
    lines
}

fn stage_news(stage: &StageSummary) -> String {
    let error = stage.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{} is {}{error}", stage.id, stage.state)
}

fn connector_news(connector: &ConnectorReport) -> String {
    let error = connector.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{} is {}{error}", connector.stage, connector.state)
}

/// `Ready`, or why not.
fn headline(report: &Report) -> String {
    let ready = report.status.conditions.iter().find(|condition| condition.kind == ConditionType::Ready);
    let (reason, message) =
        ready.map_or((String::new(), ""), |ready| (format!("{:?}", ready.reason), ready.message.as_str()));
    if report.ready { format!("Ready: {message}") } else { format!("not ready ({reason}): {message}") }
}

fn table(report: &Report, width: usize) -> String {
    let mut lines = vec![format!("{}  {}", report.pipeline, headline(report))];
    lines.push(format!(
        "{:<28} {:<9} {:>5} {:>9} {:>9}  {}",
        "STAGE", "STATE", "RUN", "LAG", "PER S", "ERROR"
    ));
    for stage in &report.stages {
        let lag = stage.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
        let error = one_line(stage.error.as_deref());
        let (id, state, replicas, rate) = (&stage.id, &stage.state, stage.replicas, stage.rate);
        lines.push(format!("{id:<28} {state:<9} {replicas:>5} {lag:>9} {rate:>9.1}  {error}"));
    }
    for connector in &report.connectors {
        let error = one_line(connector.error.as_deref());
        let (id, state, tasks) = (&connector.stage, &connector.state, connector.tasks);
        lines.push(format!("{id:<28} {state:<9} {tasks:>5} {:>9} {:>9}  {error}", "-", "-"));
    }
    let partitions: i32 = report.status.topics.iter().map(|topic| topic.partitions).sum();
    lines.push(format!("{} topics, {partitions} partitions", report.status.topics.len()));
    lines.extend(report.refused.iter().map(|refusal| one_line(Some(&format!("refused: {refusal}")))));
    lines.extend(report.failures.iter().map(|failure| one_line(Some(&format!("failed: {failure}")))));
    lines.extend(report.waiting.iter().map(|waiting| one_line(Some(&waiting.to_string()))));
    lines.extend(report.invalid.iter().flat_map(|invalid| invalid.lines()).map(str::to_owned));
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.chars().take(width).collect::<String>().trim_end());
        text
    })
}

fn one_line(text: Option<&str>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
