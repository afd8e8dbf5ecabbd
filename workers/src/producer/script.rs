//! Reading a setup script as far as needed: where its statements begin.

/// A statement of a script that would end the transaction in which the script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionControl {
    /// The line on which it stands, from 1.
    pub line: usize,
    /// Its first word, in capitals.
    pub word: String,
}

/// The first statement that begins or ends a transaction, outside of quotes, comments and function bodies.
pub fn transaction_control(sql: &str) -> Option<TransactionControl> {
    let mut scanner = Scanner { rest: sql, line: 1 };
    let mut first = None;
    let mut previous = String::new();
    // Bodies written `BEGIN ATOMIC … END` hold whole statements.
    let mut bodies = 0_usize;
    while let Some(token) = scanner.next() {
        let Token::Word(word, line) = token else {
            if matches!(token, Token::Semicolon) {
                first = None;
                previous.clear();
            }
            continue;
        };
        let is_first = first.is_none();
        first.get_or_insert(line);
        match word.as_str() {
            "ATOMIC" if previous == "BEGIN" => bodies += 1,
            "END" if is_first && bodies > 0 => bodies -= 1,
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" if is_first => {
                return Some(TransactionControl { line, word });
            }
            _ => {}
        }
        previous = word;
    }
    None
}

enum Token {
    Word(String, usize),
    Semicolon,
    Other,
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        let first = self.rest.chars().next()?;
        let len = match first {
            '\'' => self.quoted_len('\''),
            '"' => self.quoted_len('"'),
            '-' if self.rest.starts_with("--") => self.rest.find('\n').unwrap_or(self.rest.len()),
            '/' if self.rest.starts_with("/*") => comment_len(self.rest),
            '$' => dollar_len(self.rest),
            _ if first.is_alphabetic() || first == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let len = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                let word = self.rest[..len].to_ascii_uppercase();
                let line = self.line;
                self.advance(len);
                return Some(Token::Word(word, line));
            }
            _ => first.len_utf8(),
        };
        self.advance(len);
        Some(if first == ';' { Token::Semicolon } else { Token::Other })
    }

    fn advance(&mut self, len: usize) {
        let (passed, rest) = self.rest.split_at(len);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    /// A doubled quote looks like the end of one text and the beginning of the next, which comes to the same.
    fn quoted_len(&self, quote: char) -> usize {
        self.rest[1..].find(quote).map_or(self.rest.len(), |end| end + 2)
    }
}

/// Comments of this kind may hold others.
fn comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if rest.is_empty() {
            break;
        } else if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `$$ … $$` and `$name$ … $name$`; a lone `$` otherwise.
fn dollar_len(text: &str) -> usize {
    let Some(end) = text[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')) else { return 1 };
    if !text[1 + end..].starts_with('$') || text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    let tag = &text[..end + 2];
    text[tag.len()..].find(tag).map_or(text.len(), |body| body + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_ends_our_transaction_is_found_out() {
        let found = transaction_control("CREATE TABLE a ();\n -- fine\n commit; CREATE TABLE b ();").unwrap();
        assert_eq!(found, TransactionControl { line: 3, word: "COMMIT".into() });
        for sql in ["begin; select 1", "start transaction", "/* x */ END;", "select 1;;rollback"] {
            assert!(transaction_control(sql).is_some(), "{sql}");
        }
    }

    #[test]
    fn the_same_words_elsewhere_are_nothing() {
        for sql in [
            "SELECT 'a; commit; b', \"x; begin\";",
            "-- ; commit;\n/* ; begin; /* ; end; */ ; commit; */ SELECT 1;",
            "DO $$ BEGIN PERFORM 1; END; $$;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN 1; END; $body$;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END;",
            "SELECT CASE WHEN true THEN 1 END;",
            "SELECT 'it''s; commit; not';",
            "",
            "'unclosed ; commit;",
        ] {
            assert_eq!(transaction_control(sql), None, "{sql}");
        }
    }
}
