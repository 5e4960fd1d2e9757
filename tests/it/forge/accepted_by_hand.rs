//! An `Accepted` that is on no disk.

use callseal::inbox::accept::Accepted;
use callseal::inbox::store::Acceptance;

fn forge(acceptance: Acceptance) -> Accepted {
    Accepted { acceptance }
}

fn main() {}
