//! The host's end of its orders to the guest.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A connection to the guest's program.
pub struct Control {
    to: TcpStream,
    from: BufReader<TcpStream>,
}

/// Longest wait for a first sign of life.
const PROBE_MAX: Duration = Duration::from_secs(8);
/// Longest wait for an answer: the guest's time is slower than ours.
const ANSWER_MAX: Duration = Duration::from_secs(300);

impl Control {
    /// Takes a connection that has been made.
    ///
    /// # Errors
    /// The system does not let it be used both ways.
    pub fn new(to: TcpStream) -> Result<Self> {
        to.set_nodelay(true)?;
        let from = BufReader::new(to.try_clone()?);
        Ok(Self { to, from })
    }

    /// Whether the guest's program is there. QEMU takes a connection before the guest's network does, and such a
    /// connection stays dumb: only an answer counts.
    pub fn answers(&mut self) -> bool {
        let asked = self.to.set_read_timeout(Some(PROBE_MAX)).is_ok() && self.order("agent").is_ok();
        asked && self.to.set_read_timeout(Some(ANSWER_MAX)).is_ok()
    }

    /// Gives an order without more to it.
    ///
    /// # Errors
    /// The guest did not answer, or could not do it.
    pub fn order(&mut self, name: &str) -> Result<Value> {
        self.give(json!({ "order": name }))
    }

    /// Runs a program of the guest: its exit code, output and errors.
    ///
    /// # Errors
    /// As [`order`](Self::order).
    pub fn run(&mut self, arguments: &[&str]) -> Result<(i64, String, String)> {
        let done = self.give(json!({ "order": "run", "arguments": arguments }))?;
        let text = |key: &str| done[key].as_str().unwrap_or("").to_owned();
        Ok((done["code"].as_i64().unwrap_or(-1), text("out"), text("err")))
    }

    /// Gives an order.
    ///
    /// # Errors
    /// As [`order`](Self::order).
    pub fn give(&mut self, order: Value) -> Result<Value> {
        self.to.write_all((order.to_string() + "\n").as_bytes()).context("ordering the guest")?;
        let mut line = String::new();
        self.from.read_line(&mut line).with_context(|| format!("the guest's answer to {order}"))?;
        if line.is_empty() {
            bail!("the guest is gone; it was told {order}");
        }
        let answer: Value = serde_json::from_str(&line).context("the guest's answer is not JSON")?;
        match answer["error"].as_str() {
            Some(error) => bail!("the guest, told {order}: {error}"),
            None => Ok(answer),
        }
    }
}
