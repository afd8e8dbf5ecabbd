//! The tree that the interpreter runs: operators replaced by ours, and a list of what has to be read before.

use acequia_crds::expression::Path;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::operators::{PLAIN, WRITTEN, replacement};

/// A variable of the rewritten tree and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    /// The name the interpreter asks for. Dotted: it asks for the longest name first.
    pub name: String,
    /// What is read.
    pub path: Path,
    /// Only whether it is there.
    pub presence: bool,
}

/// A rewritten tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rewritten {
    pub tree: IdedExpr,
    pub reads: Vec<Read>,
    /// Fractional numbers keep their text, as decimals may need it.
    pub exact: bool,
}

/// Rewrites a tree. `exact`: it uses decimals somewhere.
pub(super) fn rewrite(tree: &IdedExpr, exact: bool) -> Rewritten {
    let mut tree = tree.clone();
    let mut rewriter = Rewriter { exact, bound: Vec::new(), reads: Vec::new() };
    rewriter.visit(&mut tree);
    Rewritten { tree, reads: rewriter.reads, exact }
}

struct Rewriter {
    exact: bool,
    bound: Vec<String>,
    reads: Vec<Read>,
}

impl Rewriter {
    fn visit(&mut self, node: &mut IdedExpr) {
        if let Some(path) = self.free_path(&node.expr) {
            return self.path(node, path);
        }
        match &mut node.expr {
            Expr::Unspecified | Expr::Ident(_) => {}
            Expr::Literal(_) => self.literal(node),
            Expr::Select(select) => match self.free_path(&select.operand.expr) {
                Some(mut path) if select.test => {
                    path.fields.push(select.field.clone());
                    let name = format!("@has {}", dotted(&path));
                    node.expr = Expr::Ident(name.clone());
                    self.remember(Read { name, path, presence: true });
                }
                _ => self.visit(&mut select.operand),
            },
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr)),
            Expr::Struct(structure) => {
                structure.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr));
            }
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&mut field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&mut entry.key);
                self.plain(&mut entry.key);
                self.visit(&mut entry.value);
            }
        }
    }

    /// The path a node spells, unless a macro binds its first name.
    fn free_path(&self, expression: &Expr) -> Option<Path> {
        match expression {
            Expr::Ident(root) => {
                let free = !self.bound.contains(root) && !TYPES.contains(&root.as_str());
                let root = root.strip_prefix('.').unwrap_or(root).to_owned();
                free.then(|| Path { root, fields: Vec::new() })
            }
            Expr::Select(select) if !select.test => {
                let mut path = self.free_path(&select.operand.expr)?;
                path.fields.push(select.field.clone());
                Some(path)
            }
            _ => None,
        }
    }

    fn path(&mut self, node: &mut IdedExpr, path: Path) {
        if path.root != "now" {
            let name = dotted(&path);
            return self.remember(Read { name, path, presence: false });
        }
        let name = "@now".to_owned();
        let text = IdedExpr { id: node.id, expr: Expr::Ident(name.clone()) };
        node.expr = call("timestamp", vec![text]);
        self.remember(Read { name, path, presence: false });
    }

    fn literal(&self, node: &mut IdedExpr) {
        let Expr::Literal(LiteralValue::Double(number)) = &node.expr else { return };
        if self.exact {
            let text = LiteralValue::String(number.inner().to_string().into());
            let text = IdedExpr { id: node.id, expr: Expr::Literal(text) };
            node.expr = call(WRITTEN, vec![text]);
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        if let Some(target) = &mut call.target {
            self.visit(target);
            self.plain(target);
        }
        // What macros add to is a list of their own, and the interpreter knows their steps by their shape.
        let accumulates = matches!(call.args.first(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name.starts_with('@'));
        call.args.iter_mut().for_each(|argument| self.visit(argument));
        if let Some(ours) = replacement(&call.func_name, call.args.len()) {
            if !accumulates {
                ours.clone_into(&mut call.func_name);
            }
        } else if call.func_name.starts_with(|first: char| first.is_ascii_alphabetic())
            && call.func_name != "decimal"
        {
            call.args.iter_mut().for_each(|argument| self.plain(argument));
        } else if matches!(call.func_name.as_str(), operators::INDEX | operators::OPT_INDEX)
            && let Some(index) = call.args.get_mut(1)
        {
            self.plain(index);
        }
    }

    /// CEL's own functions get a number without its text.
    fn plain(&self, node: &mut IdedExpr) {
        if self.exact {
            let id = node.id;
            let inner = std::mem::take(node);
            *node = IdedExpr { id, expr: call(PLAIN, vec![inner]) };
        }
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr) {
        self.visit(&mut comprehension.iter_range);
        self.visit(&mut comprehension.accu_init);
        let outer = self.bound.len();
        self.bound.push(comprehension.accu_var.clone());
        self.bound.push(comprehension.iter_var.clone());
        self.bound.extend(comprehension.iter_var2.clone());
        self.visit(&mut comprehension.loop_cond);
        self.visit(&mut comprehension.loop_step);
        self.visit(&mut comprehension.result);
        self.bound.truncate(outer);
    }

    fn remember(&mut self, read: Read) {
        if !self.reads.contains(&read) {
            self.reads.push(read);
        }
    }
}

/// CEL's names of types stand for themselves.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args })
}

fn dotted(path: &Path) -> String {
    path.fields.iter().fold(path.root.clone(), |name, field| name + "." + field)
}
