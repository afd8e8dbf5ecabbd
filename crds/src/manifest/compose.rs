//! From the events of the YAML parser to values and the positions of their fields.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{Position, field, scalar};
use crate::problem::Problem;

/// More nodes than any Pipeline has: aliases of aliases can ask for billions.
const MAX_NODES: usize = 200_000;

type Positions = BTreeMap<String, Position>;

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<(Value, Positions)>, Vec<Problem>> {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut composer = Composer {
        parser,
        anchors: HashMap::new(),
        positions: Positions::new(),
        problems: Vec::new(),
        nodes: 0,
    };
    match composer.documents() {
        Ok(documents) if composer.problems.is_empty() => Ok(documents),
        Ok(_) => Err(composer.problems),
        Err(problem) => {
            composer.problems.push(problem);
            Err(composer.problems)
        }
    }
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    positions: Positions,
    problems: Vec<Problem>,
    nodes: usize,
}

impl<'a> Composer<'a> {
    fn documents(&mut self) -> Result<Vec<(Value, Positions)>, Problem> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                other => {
                    self.anchors.clear();
                    self.positions = Positions::new();
                    let at = start(&span);
                    let value = self.node(other, &span, "", at)?;
                    documents.push((value, std::mem::take(&mut self.positions)));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = (error.marker().line(), error.marker().col() + 1);
                Err(placed(
                    at,
                    format!("this is not YAML: {}", error.info()),
                    "check indentation, brackets and quotes",
                ))
            }
            None => Err(placed((1, 1), "the text ends too early", "check brackets and quotes")),
        }
    }

    /// The node that an event begins; `key` is where its name is.
    fn node(
        &mut self,
        event: Event<'a>,
        span: &Span,
        path: &str,
        key: (usize, usize),
    ) -> Result<Value, Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(placed(key, "the file is too large", "split it"));
        }
        let value = start(span);
        let (anchor, node) = match event {
            Event::Alias(id) => return self.alias(id, path, key, value),
            Event::Scalar(text, style, anchor, tag) => {
                let one_line = span.start.line() == span.end.line();
                let markup = match style {
                    ScalarStyle::Plain => Some(0),
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some(1),
                    _ => None,
                };
                self.remember(path, Position { key, value, markup: markup.filter(|_| one_line) });
                (anchor, scalar_value(&text, style, tag.as_deref(), value)?)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.remember(path, Position { key, value, markup: None });
                (anchor, self.sequence(path)?)
            }
            Event::MappingStart(_, anchor, _) => {
                self.remember(path, Position { key, value, markup: None });
                (anchor, self.mapping(path)?)
            }
            _ => {
                return Err(placed(
                    value,
                    "this is not YAML that a manifest can hold",
                    "write it out plainly",
                ));
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn remember(&mut self, path: &str, position: Position) {
        self.positions.insert(path.to_owned(), position);
    }

    fn alias(
        &mut self,
        id: usize,
        path: &str,
        key: (usize, usize),
        value: (usize, usize),
    ) -> Result<Value, Problem> {
        self.remember(path, Position { key, value, markup: None });
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(placed(value, "an alias refers to the node it is in", "write it out"));
        };
        self.nodes += count(&node);
        if self.nodes > MAX_NODES {
            return Err(placed(value, "aliases make the file too large", "write it out"));
        }
        Ok(node)
    }

    fn sequence(&mut self, path: &str) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let at = start(&span);
            let item = self.node(event, &span, &format!("{path}[{}]", items.len()), at)?;
            items.push(item);
        }
    }

    fn mapping(&mut self, path: &str) -> Result<Value, Problem> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let at = start(&span);
            let (text, style) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text, style),
                _ => return Err(placed(at, "a key is not a word", "write `key: value`")),
            };
            let plain = style == ScalarStyle::Plain;
            let key = if plain { scalar::key(&text) } else { text.into_owned() };
            let child = field(path, &key);
            let (event, span) = self.next()?;
            if plain && key == "<<" {
                merged.push(self.node(event, &span, &child, at)?);
                continue;
            }
            let twice = map.contains_key(&key);
            let node = self.node(event, &span, &child, at)?;
            if twice {
                self.problems.push(Problem {
                    path: child,
                    ..placed(at, "this key is there twice", "keep one of them; kubectl refuses both")
                });
            } else {
                map.insert(key, node);
            }
        }
        merge(&mut map, merged);
        Ok(Value::Object(map))
    }
}

/// What is written out wins over what is merged in (`<<`), and what is merged in first over the rest.
fn merge(map: &mut Map<String, Value>, merged: Vec<Value>) {
    for source in merged {
        match source {
            Value::Object(entries) => {
                for (key, value) in entries {
                    map.entry(key).or_insert(value);
                }
            }
            Value::Array(sources) => merge(map, sources),
            _ => {}
        }
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: (usize, usize),
) -> Result<Value, Problem> {
    let tag = tag.map(|tag| (tag.core_suffix(), tag));
    match tag {
        Some((Some("str"), _)) => Ok(Value::String(text.to_owned())),
        Some((Some(_), _)) => Ok(scalar::resolve(text)),
        Some((None, tag)) if tag.original() != "!" => {
            Err(placed(at, format!("the tag `{}` has no meaning here", tag.original()), "remove it"))
        }
        _ if style == ScalarStyle::Plain => Ok(scalar::resolve(text)),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn start(span: &Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

fn placed(at: (usize, usize), message: impl Into<String>, fix: &str) -> Problem {
    Problem { line: Some(at.0), column: Some(at.1), ..Problem::new("", message, fix) }
}
