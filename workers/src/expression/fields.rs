//! Fields of JSON values, read where they lie: all paths that a step needs, in one pass over the bytes.

use std::borrow::Cow;

use super::scan::{Oddities, Scanner, Undecodable};

/// The paths to read, as a tree. Every path has a slot, which is where its value is found afterwards.
#[derive(Clone, Debug)]
pub struct FieldPaths {
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    slot: Option<usize>,
    /// Names and nodes of the fields below.
    children: Vec<(Box<str>, usize)>,
}

/// Where values were found. Kept from record to record, so that reading allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct FieldSpans {
    spans: Vec<Span>,
}

/// From byte to byte; from 0 to 0: not there, as no value is empty.
type Span = (u32, u32);

const ABSENT: Span = (0, 0);

/// The values that one pass found.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'r, 's> {
    text: &'r str,
    spans: &'s [Span],
    /// What the whole text holds that databases don't like.
    pub oddities: Oddities,
}

impl<'r> Fields<'r, '_> {
    /// The JSON text of the path with this slot, if it is there.
    pub fn get(&self, slot: usize) -> Option<&'r str> {
        let (start, end) = *self.spans.get(slot)?;
        self.text.get(start as usize..end as usize).filter(|text| !text.is_empty())
    }
}

impl Default for FieldPaths {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], slots: 0 }
    }
}

impl FieldPaths {
    /// The slot of a path; no fields stand for the whole value.
    pub fn slot<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> usize {
        let mut at = 0;
        for field in fields {
            let found = self.nodes[at].children.iter().find(|(name, _)| **name == *field);
            at = if let Some((_, node)) = found {
                *node
            } else {
                self.nodes.push(Node::default());
                let node = self.nodes.len() - 1;
                self.nodes[at].children.push((field.into(), node));
                node
            };
        }
        let slots = &mut self.slots;
        *self.nodes[at].slot.get_or_insert_with(|| {
            *slots += 1;
            *slots - 1
        })
    }

    /// Whether there is anything to read.
    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Reads all paths of one JSON text and checks the whole of it. Of equal names in an object the last counts.
    ///
    /// # Errors
    /// It isn't one JSON value in UTF-8.
    pub fn read<'r, 's>(
        &self,
        value: &'r [u8],
        spans: &'s mut FieldSpans,
    ) -> Result<Fields<'r, 's>, Undecodable> {
        let text = str::from_utf8(value).map_err(|error| Undecodable::NotUtf8 { at: error.valid_up_to() })?;
        if text.trim_ascii().is_empty() {
            return Err(Undecodable::Empty);
        }
        spans.spans.clear();
        spans.spans.resize(self.slots, ABSENT);
        let mut pass = Pass { paths: self, scanner: Scanner::new(text), spans: &mut spans.spans };
        pass.value(0, 0)?;
        pass.scanner.end()?;
        let oddities = pass.scanner.oddities;
        Ok(Fields { text, spans: &spans.spans, oddities })
    }
}

/// One pass over one text.
struct Pass<'a> {
    paths: &'a FieldPaths,
    scanner: Scanner<'a>,
    spans: &'a mut [Span],
}

impl Pass<'_> {
    fn value(&mut self, node: usize, depth: u32) -> Result<(), Undecodable> {
        let paths = self.paths;
        let node = &paths.nodes[node];
        let first = self.scanner.peek();
        let start = self.scanner.at;
        if first == Some(b'{') && !node.children.is_empty() {
            self.object(&node.children, depth)?;
        } else {
            self.scanner.skip(depth)?;
        }
        if let Some(slot) = node.slot {
            self.spans[slot] = (start as u32, self.scanner.at as u32);
        }
        Ok(())
    }

    fn object(&mut self, children: &[(Box<str>, usize)], depth: u32) -> Result<(), Undecodable> {
        let mut more = self.scanner.open(b'}', depth)?;
        let mut likely = 0;
        while more {
            let (name, escaped) = self.scanner.name()?;
            let name = if escaped { unescaped_name(name) } else { Cow::Borrowed(name) };
            if let Some(found) = position(children, &name, likely) {
                likely = found + 1;
                let child = children[found].1;
                self.forget(child);
                self.value(child, depth + 1)?;
            } else {
                self.scanner.skip(depth + 1)?;
            }
            more = self.scanner.more(b'}')?;
        }
        Ok(())
    }

    /// An earlier member of the same name doesn't count, nor what was found in it.
    fn forget(&mut self, node: usize) {
        let paths = self.paths;
        for (_, child) in &paths.nodes[node].children {
            if let Some(slot) = paths.nodes[*child].slot {
                self.spans[slot] = ABSENT;
            }
            self.forget(*child);
        }
    }
}

/// The child of that name, tried first behind the one found before: members mostly come in the same order.
fn position(children: &[(Box<str>, usize)], name: &[u8], likely: usize) -> Option<usize> {
    let is_it = |(child, _): &(Box<str>, usize)| child.as_bytes() == name;
    if children.get(likely).is_some_and(is_it) {
        return Some(likely);
    }
    children.iter().position(is_it)
}

fn unescaped_name(name: &[u8]) -> Cow<'_, [u8]> {
    let quoted = [b"\"", name, b"\""].concat();
    match serde_json::from_slice::<String>(&quoted) {
        Ok(name) => Cow::Owned(name.into_bytes()),
        // Half a character: no path can spell it.
        Err(_) => Cow::Borrowed(name),
    }
}
