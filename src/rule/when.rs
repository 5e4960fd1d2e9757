//! `when`: a condition in CEL on an event, e.g. `event.type.startsWith("payment.")`.
//!
//! The expression sees `event.type`, `event.id`, `event.source`, `event.provider`,
//! `headers["name"]` (names in lower case), `query["name"]`, and `body`: the JSON or form of the
//! body, absent when it is neither. What it costs is bounded: no loop in a loop or over the result
//! of one, no regular expressions, a text of limited length; and in a loop nothing from outside of
//! it but to be compared, since `x in body.list` or `body.text.contains(x)` is a loop as well. So it
//! goes over the body once for each of its steps, and a body that is too large for them (`MOST`)
//! is not looked at: the condition gives no answer.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program};

pub use cel::Value;

/// Longer conditions are refused.
const LONGEST: usize = 2048;

/// Steps of the expression that go over the body, times its size ([`size`]), at most. One is a few
/// tenths of a microsecond.
const MOST: usize = 500_000;

/// Each `+` of texts or lists copies both: what is added up again and again is copied as often.
const SUMS: usize = 16;

/// What an expression may name.
pub const VARIABLES: [&str; 4] = ["event", "headers", "query", "body"];

/// Members of `event`.
pub const EVENT: [&str; 4] = ["type", "id", "source", "provider"];

/// Functions that an expression may call; operators have names with `_` or `@` and `!`.
const FUNCTIONS: [&str; 14] = [
    "contains",
    "startsWith",
    "endsWith",
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
    "has",
    "optional.none",
];

/// Names of types, for `type(x) == string`.
const TYPES: [&str; 10] = [
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];

static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A compiled condition.
#[derive(Clone)]
pub struct When {
    text: Arc<str>,
    program: Arc<Program>,
    reads_body: bool,
    /// What of it goes over the body.
    steps: usize,
}

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("When").field(&self.text).finish()
    }
}

/// What is wrong with a condition, and which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhenError {
    pub span: Range<usize>,
    pub message: String,
    pub hint: String,
}

/// What is known of an event when a condition is evaluated.
#[derive(Debug, Default)]
pub struct Facts {
    pub kind: String,
    pub id: String,
    pub source: String,
    pub provider: String,
    /// Names in lower case; of a repeated field the first.
    pub headers: HashMap<String, String>,
    pub query: HashMap<String, String>,
    /// None: the body is no document.
    pub body: Option<Value>,
}

/// An expression that gives no answer for an event, e.g. as it reads a member that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided(pub String);

impl When {
    pub fn parse(text: &str) -> Result<When, WhenError> {
        let whole = 0..text.len();
        let refuse = |message: &str, hint: &str| WhenError {
            span: whole.clone(),
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        if text.trim().is_empty() {
            return Err(refuse(
                "a condition is missing",
                "`true` lets everything through",
            ));
        }
        if text.len() > LONGEST {
            let message = format!("a condition may have {LONGEST} bytes");
            return Err(refuse(&message, "the application can look closer"));
        }
        // The parser is generated code: what it cannot bear is a fault of the file, not of us.
        let compiled = catch_unwind(AssertUnwindSafe(|| ENV.compile(text)));
        let Ok(compiled) = compiled else {
            return Err(refuse("this cannot be read as CEL", EXAMPLE));
        };
        let program = compiled.map_err(|errors| match errors.errors.first() {
            Some(error) => WhenError {
                span: at(text, error.pos.0, error.pos.1),
                message: format!("this is no CEL: {}", error.msg),
                hint: EXAMPLE.to_owned(),
            },
            None => refuse("this is no CEL", EXAMPLE),
        })?;
        let mut walk = Walk {
            text,
            program: &program,
            bound: Vec::new(),
            in_range: false,
            counts: false,
            reads_body: false,
            steps: 0,
            sums: 0,
        };
        walk.expr(program.expression())?;
        let (reads_body, steps) = (walk.reads_body, walk.steps);
        Ok(When {
            text: Arc::from(text),
            program: Arc::new(program),
            reads_body,
            steps,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// False: nobody needs to read the body as a document for it.
    pub fn reads_body(&self) -> bool {
        self.reads_body
    }

    /// Whether the event fits. An expression that ends in anything but a boolean is undecided.
    pub fn holds(&self, facts: &Facts) -> Result<bool, Undecided> {
        let event: HashMap<String, Value> = [
            ("type", &facts.kind),
            ("id", &facts.id),
            ("source", &facts.source),
            ("provider", &facts.provider),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value.as_str())))
        .collect();
        let body = facts.body.as_ref().filter(|_| self.reads_body);
        if self.steps > 0 && body.is_some_and(|body| size(body) > MOST / self.steps) {
            return Err(Undecided("the body is too large for it".to_owned()));
        }
        // A panic in the interpreter must not cost the event.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.add_variable_from_value("event", event);
            context.add_variable_from_value("headers", facts.headers.clone());
            context.add_variable_from_value("query", facts.query.clone());
            if let Some(body) = body {
                context.add_variable_from_value("body", body.clone());
            }
            self.program.execute(&context)
        }));
        match result {
            Ok(Ok(Value::Bool(holds))) => Ok(holds),
            Ok(Ok(other)) => Err(Undecided(format!(
                "gives {}, not a boolean",
                other.type_of()
            ))),
            // The messages of the interpreter may quote the body: only their kind is told.
            Ok(Err(error)) => Err(Undecided(kind(&error).to_owned())),
            Err(_) => Err(Undecided("the evaluation failed".to_owned())),
        }
    }
}

/// How many values there are, and one for each 64 bytes of text.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::List(list) => list.iter().map(size).sum(),
        Value::Map(map) => map.map.values().map(size).sum(),
        Value::String(text) => text.len() / 64,
        _ => 0,
    }
}

const EXAMPLE: &str = "e.g. `event.type.startsWith(\"payment.\")`, `body.amount > 0`";

fn kind(error: &cel::ExecutionError) -> &'static str {
    match error {
        cel::ExecutionError::NoSuchKey(_) => "a member that it reads is not there",
        cel::ExecutionError::UndeclaredReference(_) => "the body is no document",
        cel::ExecutionError::NoSuchOverload(_)
        | cel::ExecutionError::ValuesNotComparable(..)
        | cel::ExecutionError::UnsupportedBinaryOperator(..)
        | cel::ExecutionError::UnexpectedType { .. } => "a value has another type than it needs",
        cel::ExecutionError::IndexOutOfBounds(_) => "a list is shorter than it needs",
        _ => "the evaluation failed",
    }
}

/// The bytes at a line and a column, both from 1.
fn at(text: &str, line: impl TryInto<usize>, column: impl TryInto<usize>) -> Range<usize> {
    let line = line.try_into().unwrap_or(1).max(1) - 1;
    let column = column.try_into().unwrap_or(1).max(1) - 1;
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(before..).unwrap_or_default();
    let inside = rest
        .char_indices()
        .nth(column)
        .map_or(rest.len(), |(n, _)| n);
    let start = (before + inside).min(text.len());
    let length = text
        .get(start..)
        .and_then(|t| t.chars().next())
        .map_or(0, char::len_utf8);
    start..start + length
}

/// Looks through an expression for what it must not do.
struct Walk<'a> {
    text: &'a str,
    program: &'a Program,
    /// Names that loops around have made.
    bound: Vec<&'a str>,
    /// Within what a loop goes over.
    in_range: bool,
    /// In a loop, within something that may take the longer the larger its operands are.
    counts: bool,
    reads_body: bool,
    /// What goes over the body: everything in a loop, and what takes whole documents outside of one.
    steps: usize,
    sums: usize,
}

/// Operators that look at no more of their operands than whether they hold.
const LOGIC: [&str; 5] = ["_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false"];

/// Operators that look at no more of either operand than the other one has.
const COMPARISONS: [&str; 6] = ["_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"];

impl<'a> Walk<'a> {
    fn refuse(&self, expr: &IdedExpr, message: String, hint: String) -> WhenError {
        let offset = self.program.source_info().offset_for(expr.id);
        // Both are counted from 0 and belong to it; in characters, should some be longer than a byte.
        let span = offset
            .map(|(from, to)| from as usize..to as usize + 1)
            .filter(|span| self.text.is_ascii() && span.end <= self.text.len());
        let span = span.unwrap_or(0..self.text.len());
        WhenError {
            span,
            message,
            hint,
        }
    }

    fn expr(&mut self, expr: &'a IdedExpr) -> Result<(), WhenError> {
        self.steps += usize::from(!self.bound.is_empty());
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(expr, name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && name == "event"
                    && !self.bound.contains(&"event")
                    && !EVENT.contains(&select.field.as_str())
                {
                    let message = format!("`event` has no `{}`", select.field);
                    let hint = format!("it has: {}", EVENT.join(", "));
                    return Err(self.refuse(expr, message, hint));
                }
                self.expr(&select.operand)
            }
            Expr::Call(call) => {
                let operator = !call
                    .func_name
                    .starts_with(|c: char| c.is_ascii_alphabetic());
                if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    let message = format!("there is no function `{}`", call.func_name);
                    let hint = format!("there are: {}", FUNCTIONS.join(", "));
                    return Err(self.refuse(expr, message, hint));
                }
                let name = call.func_name.as_str();
                // `map` and `filter` add to what no condition can name.
                let own = |arg: &IdedExpr| matches!(&arg.expr, Expr::Ident(name) if name.starts_with('@'));
                let sum = name == "_+_" && !call.args.iter().any(own);
                self.sums += usize::from(sum);
                if self.sums > SUMS {
                    let message = format!("more than {SUMS} `+`");
                    let hint = "the application can look closer".to_owned();
                    return Err(self.refuse(expr, message, hint));
                }
                let plain = |arg: &&IdedExpr| matches!(arg.expr, Expr::Literal(_));
                let small = COMPARISONS.contains(&name) && call.args.iter().any(|arg| plain(&arg));
                let free = LOGIC.contains(&name) || name == "_[_]" || name == "size";
                if self.bound.is_empty() && !free && !small {
                    self.steps += 1;
                }
                let outer = call.args.iter().filter(|arg| self.is_outer(arg)).count();
                let cheap = LOGIC.contains(&name) || (COMPARISONS.contains(&name) && outer < 2);
                self.within(!cheap, |walk| {
                    if let Some(target) = &call.target {
                        walk.expr(target)?;
                    }
                    call.args.iter().try_for_each(|arg| walk.expr(arg))
                })
            }
            Expr::List(list) => self.within(true, |walk| {
                list.elements.iter().try_for_each(|one| walk.expr(one))
            }),
            Expr::Map(map) => self.within(true, |walk| {
                walk.entries(map.entries.iter().map(|entry| &entry.expr))
            }),
            Expr::Struct(one) => self.within(true, |walk| {
                walk.entries(one.entries.iter().map(|entry| &entry.expr))
            }),
            Expr::Comprehension(loops) => {
                if !self.bound.is_empty() || self.in_range {
                    let message = match self.in_range {
                        true => "a loop over the result of a loop",
                        false => "a loop in a loop",
                    };
                    let hint = "a stranger's body would decide how long it takes".to_owned();
                    return Err(self.refuse(expr, message.to_owned(), hint));
                }
                self.in_range = true;
                self.expr(&loops.iter_range)?;
                self.in_range = false;
                self.expr(&loops.accu_init)?;
                let outside = std::mem::take(&mut self.counts);
                self.bound.push(&loops.iter_var);
                self.bound.extend(loops.iter_var2.as_deref());
                self.bound.push(&loops.accu_var);
                self.expr(&loops.loop_cond)?;
                self.expr(&loops.loop_step)?;
                self.expr(&loops.result)?;
                self.bound.clear();
                self.counts = outside;
                Ok(())
            }
        }
    }

    /// Looks at operands; `counts`: of something that may take the longer the larger they are.
    fn within(
        &mut self,
        counts: bool,
        look: impl FnOnce(&mut Self) -> Result<(), WhenError>,
    ) -> Result<(), WhenError> {
        let before = self.counts;
        self.counts |= counts;
        look(self)?;
        self.counts = before;
        Ok(())
    }

    /// In a loop: names something that the loop has not made.
    fn is_outer(&self, expr: &IdedExpr) -> bool {
        match &expr.expr {
            _ if self.bound.is_empty() => false,
            Expr::Unspecified | Expr::Literal(_) => false,
            Expr::Ident(name) => !self.bound.contains(&name.as_str()),
            Expr::Select(select) => self.is_outer(&select.operand),
            Expr::Call(call) => {
                let target = call.target.iter().any(|target| self.is_outer(target));
                target || call.args.iter().any(|arg| self.is_outer(arg))
            }
            // Refused, or looked at by themselves.
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) => false,
        }
    }

    fn entries(
        &mut self,
        mut entries: impl Iterator<Item = &'a EntryExpr>,
    ) -> Result<(), WhenError> {
        entries.try_for_each(|entry| match entry {
            EntryExpr::StructField(field) => self.expr(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.expr(&entry.key)?;
                self.expr(&entry.value)
            }
        })
    }

    fn ident(&mut self, expr: &IdedExpr, name: &str) -> Result<(), WhenError> {
        if name == "body" {
            self.reads_body = true;
        }
        let known = |names: &[&str]| names.contains(&name);
        let large = VARIABLES.contains(&name) && !self.bound.contains(&name);
        if large && self.counts && !self.bound.is_empty() {
            let message =
                format!("`{name}` in a loop may only be compared with what is looped over");
            let hint = "a stranger's body would decide how long it takes".to_owned();
            return Err(self.refuse(expr, message, hint));
        }
        if self.bound.contains(&name) || known(&VARIABLES) || known(&TYPES) {
            return Ok(());
        }
        let message = format!("there is nothing called `{name}`");
        let hint = format!("there are: {}", VARIABLES.join(", "));
        Err(self.refuse(expr, message, hint))
    }
}
