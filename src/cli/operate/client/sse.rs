//! Streams of the admin port, message by message.

use serde_json::Value;

/// One message of a stream.
#[derive(Debug)]
pub struct Message {
    pub kind: String,
    pub data: Value,
}

/// Server-sent events, as far as the gateway uses them
/// (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    kind: String,
    data: String,
}

impl Parser {
    /// The messages that these bytes complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let (kind, data) = (
                    std::mem::take(&mut self.kind),
                    std::mem::take(&mut self.data),
                );
                if let Ok(data) = serde_json::from_str(&data) {
                    messages.push(Message { kind, data });
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match name {
                    "event" => value.clone_into(&mut self.kind),
                    "data" if self.data.is_empty() => value.clone_into(&mut self.data),
                    "data" => {
                        self.data.push('\n');
                        self.data.push_str(value);
                    }
                    _ => {}
                }
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_whatever_pieces_it_comes_in() {
        let text = ": hello\n\nevent: accepted\ndata: {\"a\":1}\n\nevent: lagged\r\ndata:{\"missed\":\r\ndata: 2}\r\n\r\n";
        for step in 1..text.len() {
            let mut parser = Parser::default();
            let messages: Vec<Message> = text
                .as_bytes()
                .chunks(step)
                .flat_map(|chunk| parser.read(chunk))
                .collect();
            let kinds: Vec<&str> = messages.iter().map(|m| m.kind.as_str()).collect();
            assert_eq!(kinds, ["accepted", "lagged"], "{step}");
            assert_eq!(messages[1].data["missed"], 2, "{step}");
        }
    }
}
