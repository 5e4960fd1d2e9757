//! Events on their way in: what is hashed, encoded and asked for outside the writer's thread.

use super::claims::HashedClaims;
use super::embedded::Embedded;
use super::queue::{Answered, Command, Offer};
use super::record::{Added, Meta, Order, Place, Planned, Version, encode_accepted, frame_span};
use super::segment::MetaRead;
use super::shared::{Shared, reading};
use super::*;

impl Embedded {
    fn offer(&self, event: &StoredEvent, claim: &Claim, plan: &Plan) -> Result<Offer, StoreError> {
        let keys = &self.claim_keys;
        let lane = |destination: &DestinationName| LaneName::new(&event.source, destination);
        let planned = |delivery: &PlannedDelivery| Planned {
            destination: delivery.destination.as_str().to_owned(),
            state: if delivery.wanted {
                State::Owed
            } else {
                State::Filtered
            },
            order: delivery.order.as_ref().map(|order| Order {
                hash: keys.order(&event.source, &order.value, |hash| {
                    self.shared.in_order(&lane(&delivery.destination), hash)
                }),
                hold: order.hold,
            }),
        };
        let claims = keys.hash(claim);
        let added = Added {
            tag: self.new_tag(),
            claim: claims.own,
            business: claims.business,
            keep: claim.keep,
            deliveries: plan.deliveries.iter().map(planned).collect(),
            version: plan.version.as_ref().map(|version| Version {
                key: keys.version(&event.source, &version.key, |hash| {
                    plan.deliveries.iter().any(|delivery| {
                        let lane = self.shared.lanes.known(&lane(&delivery.destination));
                        lane.is_some_and(|lane| self.shared.versions.known(hash, lane))
                    })
                }),
                stamp: version.stamp,
            }),
        };
        let mut offer = self.offer_of(event, added)?;
        offer.on_conflict = claim.on_conflict;
        offer.former = keys.former(claim);
        Ok(offer)
    }

    pub(super) fn new_tag(&self) -> u64 {
        self.random.next_u64()
    }

    /// An event whose keys were hashed already.
    pub(super) fn offer_of(&self, event: &StoredEvent, added: Added) -> Result<Offer, StoreError> {
        let too_large = || StoreError::Unavailable(Unavailable::TooLarge);
        let tag = added.tag;
        let claims = HashedClaims {
            own: added.claim,
            business: added.business,
        };
        let meta = Meta::of(event, added).ok_or_else(too_large)?;
        let payload = encode_accepted(&meta, &event.headers, &event.body).ok_or_else(too_large)?;
        let length = u32::try_from(payload.len()).map_err(|_| too_large())?;
        let span = frame_span(length)
            .filter(|span| *span <= self.largest)
            .ok_or_else(too_large)?;
        let nowhere = Place {
            segment: 0,
            offset: 0,
        };
        Ok(Offer {
            payload_crc: crc32fast::hash(&payload),
            payload,
            span,
            claims,
            former: Vec::new(),
            on_conflict: OnConflict::KeepBoth,
            tag,
            rows: self.shared.rows_of_meta(nowhere, &meta),
            instead_of: Vec::new(),
        })
    }

    pub(super) async fn accept_event(&self, new: NewEvent) -> Result<Acceptance, StoreError> {
        let (event, claim, plan) = new.into_parts();
        let mut instead_of = Vec::new();
        loop {
            let mut offer = self.offer(&event, &claim, &plan)?;
            offer.instead_of.clone_from(&instead_of);
            let heard = self
                .ask(|reply| Command::Accept(Box::new(offer), reply))
                .await?;
            let (place, business) = match heard.answered {
                Answered::New(id) => return Ok(Acceptance::New(id)),
                Answered::Conflict { id, of } => return Ok(Acceptance::Conflict { id, of }),
                Answered::Dropped { of } => return Ok(Acceptance::Dropped { of }),
                Answered::Refused { of } => return Ok(Acceptance::Refused { of }),
                Answered::Duplicate { place, business } => (place, business),
            };
            let offer = heard.offer;
            // The original is durable; its tag stands in it.
            if let Some(id) = self
                .look(move |shared| original(shared, place, &offer, business))
                .await?
            {
                return Ok(Acceptance::Duplicate(id));
            }
            // It cannot be read any more. Calling this one a duplicate would lose the event;
            // accepting it costs at most a second delivery.
            tracing::error!(
                segment = place.segment,
                offset = place.offset,
                "the original of a duplicate cannot be read: the duplicate is accepted in its place"
            );
            instead_of.push(place);
        }
    }
}

/// The id of the event at a place; none when it is damaged, or not the event that it is taken for:
/// memory knows shortened hashes, the journal the whole ones, and the journal decides.
pub(super) fn original(
    shared: &Shared,
    place: Place,
    offer: &Offer,
    business: bool,
) -> Result<Option<EventId>, StoreError> {
    let Some(file) = shared.catalog.file(place.segment) else {
        return Ok(None);
    };
    match file.read_meta(place.offset).map_err(reading)? {
        MetaRead::Good(meta, _) if offer.is_known_as(&meta, business) => {
            Ok(Some(place.with_tag(meta.tag)))
        }
        MetaRead::Good(..) | MetaRead::Damaged | MetaRead::NoEvent => Ok(None),
    }
}
