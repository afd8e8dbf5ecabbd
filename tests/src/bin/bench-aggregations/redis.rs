//! As much of Redis's protocol as it takes to look at results.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// How many keys one command names.
const KEYS_AT_ONCE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There is none.
    Nothing,
    /// A number.
    Number(i64),
    /// A text.
    Text(Vec<u8>),
    /// Several answers; a map's keys and values in turn.
    List(Vec<Self>),
}

impl Reply {
    /// The text, if it is one.
    pub fn text(self) -> Option<Vec<u8>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The answers in it; none if it isn't a list.
    pub fn list(self) -> Vec<Self> {
        if let Self::List(list) = self { list } else { Vec::new() }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    /// Connects to a server without a login.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("Redis at {address}"))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A command and its answer.
    pub fn call(&mut self, words: &[&[u8]]) -> anyhow::Result<Reply> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).bytes());
            command.extend(*word);
            command.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&command)?;
        self.reply()
    }

    /// How many changes the server has made since it was started.
    pub fn changes(&mut self) -> anyhow::Result<i64> {
        let info = self.call(&[b"INFO", b"persistence"])?.text().unwrap_or_default();
        let info = String::from_utf8(info)?;
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        Ok(line.context("Redis doesn't count its changes")?.trim().parse()?)
    }

    /// All keys like this; `*` stands for anything.
    fn keys(&mut self, pattern: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let keys = self.call(&[b"KEYS", pattern.as_bytes()])?.list();
        Ok(keys.into_iter().filter_map(Reply::text).collect())
    }

    /// Keys and values of all texts whose key begins so.
    pub fn texts(&mut self, prefix: &str) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let keys = self.keys(&format!("{prefix}*"))?;
        let mut texts = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let words: Vec<&[u8]> =
                [&b"MGET"[..]].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
            // What is no text is answered by nothing.
            let values = self.call(&words)?.list().into_iter().map(Reply::text);
            texts.extend(keys.iter().cloned().zip(values).filter_map(|(key, value)| Some((key, value?))));
        }
        Ok(texts)
    }

    /// Removes all keys that have this in them.
    pub fn remove(&mut self, part: &str) -> anyhow::Result<()> {
        for keys in self.keys(&format!("*{part}*"))?.chunks(KEYS_AT_ONCE) {
            let words: Vec<&[u8]> =
                [&b"UNLINK"[..]].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
            self.call(&words)?;
        }
        Ok(())
    }

    /// From now on the server tells at once which keys that begin so have changed: see [`Self::changed`].
    pub fn follow(&mut self, prefix: &str) -> anyhow::Result<()> {
        self.call(&[b"HELLO", b"3"])?;
        self.call(&[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", prefix.as_bytes()])?;
        Ok(())
    }

    /// Keys that have changed; waits at most so long, then there are none.
    pub fn changed(&mut self, timeout: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
        self.stream.get_ref().set_read_timeout(Some(timeout))?;
        let waited = self.stream.fill_buf().map(<[u8]>::is_empty);
        self.stream.get_ref().set_read_timeout(Some(DEADLINE))?;
        match waited {
            Ok(false) => {}
            Ok(true) => bail!("Redis closed the connection"),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        }
        let mut parts = self.reply()?.list().into_iter();
        match parts.next().and_then(Reply::text) {
            Some(kind) if kind == b"invalidate" => {}
            other => bail!("Redis said {other:?} instead of what has changed"),
        }
        let keys = parts.next().map(Reply::list).unwrap_or_default();
        Ok(keys.into_iter().filter_map(Reply::text).collect())
    }

    fn reply(&mut self) -> anyhow::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").context("Redis closed the connection")?;
        let (kind, rest) = line.split_at_checked(1).context("Redis answered an empty line")?;
        Ok(match kind {
            "-" => bail!("Redis refuses: {rest}"),
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            ":" => Reply::Number(rest.parse()?),
            "_" => Reply::Nothing,
            "$" => match usize::try_from(rest.parse::<i64>()?) {
                Ok(length) => Reply::Text(self.bytes(length)?),
                Err(_) => Reply::Nothing,
            },
            "*" | ">" | "~" | "%" => match usize::try_from(rest.parse::<i64>()?) {
                Ok(count) => {
                    let count = if kind == "%" { 2 * count } else { count };
                    Reply::List((0..count).map(|_| self.reply()).collect::<anyhow::Result<_>>()?)
                }
                Err(_) => Reply::Nothing,
            },
            _ => bail!("Redis answered {line}, which isn't understood"),
        })
    }

    fn bytes(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server that `tests/layers` names; none in the layers without servers.
    fn server() -> Option<String> {
        std::env::var("ACEQUIA_TEST_REDIS").ok()
    }

    #[test]
    fn a_key_that_changes_is_told_at_once_and_only_if_it_was_asked_for() {
        let Some(address) = server() else { return };
        let prefix = format!("{}:", acequia_tests::stack::unique("bench_test"));
        let (mut told, mut writes) = (Redis::connect(&address).unwrap(), Redis::connect(&address).unwrap());
        told.follow(&prefix).unwrap();
        assert_eq!(told.changed(Duration::from_millis(10)).unwrap(), Vec::<Vec<u8>>::new());
        let before = writes.changes().unwrap();
        let (key, other) = (format!("{prefix}a"), format!("other_{prefix}a"));
        writes.call(&[b"SET", other.as_bytes(), b"1"]).unwrap();
        writes.call(&[b"SET", key.as_bytes(), "\u{e9}\r\n".as_bytes()]).unwrap();
        assert_eq!(told.changed(Duration::from_secs(5)).unwrap(), [key.clone().into_bytes()]);
        assert!(writes.changes().unwrap() >= before + 2);
        assert_eq!(writes.texts(&prefix).unwrap(), [(key.into_bytes(), "\u{e9}\r\n".as_bytes().to_vec())]);
        writes.remove(&prefix).unwrap();
        assert_eq!(writes.keys(&format!("*{prefix}*")).unwrap(), Vec::<Vec<u8>>::new());
        assert!(writes.call(&[b"NO-SUCH-COMMAND"]).is_err());
    }
}
