//! Providers, and those who would like to pass for them: who calls, and calls again.

use std::rc::Rc;

use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::message::{Answer, EventId, LaneName};
use crate::rule::OnConflict;
use crate::service::simulation::callbacks::{Callback, Kind, forgery};
use crate::service::simulation::scenario::Site;
use crate::service::simulation::world::{fault, millis, say, secs};

impl Site {
    /// A callback, or something that would like to be one.
    pub(super) fn arrival(self: &Rc<Self>) {
        let dice = &self.world.dice;
        let scheme = dice.one_of(&self.sources).scheme;
        let number = self.world.model().callbacks.len();
        let earlier: Vec<Callback> = {
            let model = self.world.model();
            let all = model.callbacks.iter();
            all.filter(|c| c.kind == Kind::Genuine).cloned().collect()
        };
        let of = match dice.below(10) {
            0..6 => None,
            _ if earlier.is_empty() => None,
            _ => Some(dice.one_of(&earlier)),
        };
        let callback = match (of, dice.below(4)) {
            // The provider is impatient.
            (Some(of), 0 | 1) => return self.sends(of.number),
            (Some(of), 2) if of.scheme.names_events() => {
                self.world
                    .know(|model| model.callbacks[of.number].contested = true);
                of.contradicting(dice, number)
            }
            (Some(of), _) => of.twin(dice, number),
            (None, 0) => {
                let kind = Kind::Forged(forgery(dice, scheme));
                Callback::fresh(dice, number, scheme, kind)
            }
            (None, _) => Callback::fresh(dice, number, scheme, Kind::Genuine),
        };
        say!(
            self.world,
            "callback {number} of {}: {} {} {:?}",
            callback.source,
            callback.id,
            callback.thing,
            callback.kind
        );
        self.world.know(|model| model.callback(callback));
        self.sends(number);
    }

    fn sends(self: &Rc<Self>, n: usize) {
        let caller = spawn_local(self.clone().deliver(n));
        self.callers.borrow_mut().push(caller);
    }

    /// As a provider does it: again and again until it hears success.
    async fn deliver(self: Rc<Self>, n: usize) {
        let (world, dice) = (&self.world, &self.world.dice);
        let callback = world.model().callbacks[n].clone();
        let earlier = dice.one_in(4);
        for tries in 0.. {
            let now = world.clock.right().as_secs();
            let call = {
                let process = self.process.borrow();
                process
                    .as_ref()
                    .map(|p| p.call(callback.request(now, earlier)))
            };
            let patience = match dice.one_in(12) {
                true => millis(dice.from(0, 90)),
                false => secs(12),
            };
            let answer = match call {
                Some(call) => call.answer(patience).await,
                None => None,
            };
            let status = answer.as_ref().map(|answer| answer.status.as_u16());
            say!(world, "callback {n} hears {status:?}");
            if let Some(answer) = &answer {
                world.know(|model| model.answered(n, answer));
                self.check_answer(&callback, answer);
                if answer.status.is_success() {
                    return;
                }
            }
            let may_be_refused = {
                let model = world.model();
                let policy = &model.policies[&callback.source];
                model.callbacks[n].contested && policy.on_conflict == OnConflict::Reject
            };
            let forged = callback.kind != Kind::Genuine;
            if tries >= 2 && forged || tries >= 8 && may_be_refused {
                return;
            }
            sleep(millis(dice.from(300, 5000))).await;
        }
    }

    /// What is said to be the application's answer is that of this event's application.
    fn check_answer(&self, callback: &Callback, answer: &Answer) {
        let Some(id) = answer.body.strip_prefix(b"taken ") else {
            return;
        };
        let id: EventId = std::str::from_utf8(id).unwrap().parse().unwrap();
        let model = self.world.model();
        let other = model
            .events
            .get(&id)
            .map(|event| &model.callbacks[event.callback]);
        let fits = other.is_none_or(|o| o.order == callback.order || o.id == callback.id);
        let n = callback.number;
        drop(model);
        self.world.met("an answer of the application");
        let lane = LaneName::main(&callback.source);
        if !fits || !self.world.places().heard(&lane, id, |status| status < 300) {
            fault!(
                self.world,
                "callback {n} heard an answer that nobody gave it"
            );
        }
    }
}
