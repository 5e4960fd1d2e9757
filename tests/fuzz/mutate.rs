//! Seeded mutations: small changes to known inputs, pieces of others, and words that readers care
//! about.

pub struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
}

/// Words that decide something somewhere.
const WORDS: [&[u8]; 44] = [
    b"{",
    b"}",
    b"{{",
    b"{(",
    b")}",
    b"[[",
    b"]]",
    b"\"",
    b"\"\"\"",
    b"'''",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"%00",
    b"%",
    b"%2",
    b"+",
    b"&",
    b"&&",
    b"=",
    b"==",
    b";",
    b",",
    b":",
    b"/",
    b"/../",
    b"*",
    b"~1",
    b"|",
    b"\0",
    b"\r\n",
    b"\n",
    b"\xff",
    b"\xc3\x28",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE x [<!ENTITY a \"b\">]>",
    b"&#x0;",
    b"-----BEGIN CERTIFICATE-----",
    b"eyJhbGciOiJub25lIn0",
];

impl Mutator {
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Mutator {
            state: seed ^ 0x9E37_79B9_7F4A_7C15,
            corpus,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        match end {
            0 => 0,
            end => (self.number() % end as u64) as usize,
        }
    }

    fn any(&mut self) -> Vec<u8> {
        match self.corpus.len() {
            0 => Vec::new(),
            length => {
                let index = self.below(length);
                self.corpus[index].clone()
            }
        }
    }

    pub fn next(&mut self, largest: usize) -> Vec<u8> {
        let mut input = self.any();
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input.truncate(largest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.number() as u8,
            2 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            3 => {
                let end = at + self.below(input.len() - at + 1).min(64);
                input.drain(at..end);
            }
            4 => {
                let end = at + self.below(input.len() - at + 1).min(256);
                let copy = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let other = self.any();
                let from = self.below(other.len() + 1);
                let end = from + self.below(other.len() - from + 1);
                input.splice(at..at, other[from..end].iter().copied());
            }
            6 => input.truncate(at),
            // The same again and again: depth and length.
            7 => {
                let end = (at + 1 + self.below(8)).min(input.len());
                let piece = input[at..end].to_vec();
                let times = self.below(200);
                input.splice(at..at, piece.repeat(times));
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
        }
    }
}
