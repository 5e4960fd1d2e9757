//! What signatures leave out, file by file, and why that is not our doing. Everything else that is
//! accepted after a change is a hole.

pub(super) enum Out {
    /// The body as a whole.
    Body,
    /// Only these places are left out.
    Only(&'static [&'static str]),
    /// Only these places are signed, or asked about.
    AllBut(&'static [&'static str]),
}

pub(super) struct LeftOut {
    pub file: &'static str,
    pub out: Out,
    pub why: &'static str,
}

pub(super) const LEFT_OUT: &[LeftOut] = &[];

pub(super) fn of(file: &str) -> Option<&'static LeftOut> {
    LEFT_OUT.iter().find(|left| left.file == file)
}

impl Out {
    /// True when a change in `place` may go unseen.
    pub fn holds(&self, place: &str) -> bool {
        let named = |names: &[&str]| {
            names.iter().any(|name| {
                let (mut name, mut place) = (name.split('/'), place.split('/'));
                loop {
                    match (name.next(), place.next()) {
                        (None, _) => return true,
                        (Some(_), None) => return false,
                        (Some("*"), Some(_)) => {}
                        (Some(a), Some(b)) if a == b => {}
                        (Some(_), Some(_)) => return false,
                    }
                }
            })
        };
        match self {
            Out::Body => true,
            Out::Only(names) => named(names),
            Out::AllBut(names) => !named(names),
        }
    }
}
