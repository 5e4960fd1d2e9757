//! A page of text: labels at the left, sentences beside them, broken at the width of a terminal.

/// Where the sentences begin.
const MARGIN: usize = 16;

pub struct Page {
    width: usize,
    text: String,
}

impl Page {
    pub fn new(width: usize) -> Page {
        Page {
            // Narrower than this nothing can be read.
            width: width.clamp(MARGIN + 24, 110),
            text: String::new(),
        }
    }

    pub fn title(&mut self, title: &str) {
        self.text.push_str(title);
        self.text.push('\n');
    }

    /// An empty line and a heading.
    pub fn heading(&mut self, heading: &str) {
        self.text.push('\n');
        self.title(heading);
    }

    /// A label and what there is to say. Words are never cut.
    pub fn say(&mut self, label: &str, sentence: &str) {
        let mut line = format!("  {label:<width$}", width = MARGIN - 2);
        if label.chars().count() > MARGIN - 3 {
            line = format!("  {label}  ");
        }
        self.broken(line, MARGIN, sentence);
    }

    /// One of several sentences.
    pub fn bullet(&mut self, sentence: &str) {
        self.broken("  - ".to_owned(), 4, sentence);
    }

    fn broken(&mut self, begin: String, margin: usize, sentence: &str) {
        let mut line = begin;
        let mut fresh = true;
        let mut length = line.chars().count();
        for word in sentence.split_whitespace() {
            let wide = word.chars().count();
            if !fresh && length + 1 + wide > self.width {
                self.end(&line);
                line = " ".repeat(margin);
                length = margin;
                fresh = true;
            }
            if !fresh {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += wide;
            fresh = false;
        }
        self.end(&line);
    }

    /// Lines as they are.
    pub fn block(&mut self, lines: &str) {
        for line in lines.lines() {
            if line.is_empty() {
                self.text.push('\n');
            } else {
                self.end(&format!("  {line}"));
            }
        }
    }

    fn end(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

/// `a`, `a and b`, `a, b, and c`.
pub fn listed(parts: &[String], word: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} {word} {two}"),
        [first @ .., last] => format!("{}, {word} {last}", first.join(", ")),
    }
}
