//! What a server turned out to be able to do. It is found out by trying: a request that the server refuses as unknown is
//! sent again with less, and what made the difference is remembered for the life of the process, and said once.

use super::errors::Fault;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a request protects what it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// With a checksum that the server verifies and keeps.
    pub checksum: bool,
    /// With `If-None-Match: *` or `If-Match`.
    pub condition: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    Untried,
    Works,
    Lacking,
}

/// What is known so far.
pub struct Abilities(Mutex<[Ability; 2]>);

impl Default for Abilities {
    fn default() -> Self {
        Self(Mutex::new([Ability::Untried; 2]))
    }
}

const LOST_CHECKSUM: &str = "its checksums are not known there, so uploads are protected by Content-MD5 only \
                             and the stored objects carry no checksum";
const LOST_CONDITION: &str = "conditional writes (If-None-Match, If-Match) are not known there, so a look before each upload takes \
                              their place, and two hosts that store the same key at the same moment may overwrite each other";

impl Abilities {
    fn lock(&self) -> MutexGuard<'_, [Ability; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The best that is not known to fail.
    pub fn best(&self) -> Ways {
        let [checksum, condition] = *self.lock();
        Ways { checksum: checksum != Ability::Lacking, condition: condition != Ability::Lacking }
    }

    /// Whether a checksum has been seen to be verified.
    pub fn checksum_works(&self) -> bool {
        self.lock()[0] == Ability::Works
    }

    /// The server said that it verified a checksum, or, by saying nothing, that it did not.
    pub fn checksum_seen(&self, place: &str, echoed: bool) {
        if echoed {
            self.lock()[0] = Ability::Works;
        } else {
            self.lose(place, Ways { checksum: false, condition: true });
        }
    }

    /// Remembers what did not work, and says so if it is news.
    fn lose(&self, place: &str, worked: Ways) {
        let mut known = self.lock();
        let mut news = Vec::new();
        for (ability, works, text) in [(0, worked.checksum, LOST_CHECKSUM), (1, worked.condition, LOST_CONDITION)] {
            if !works && known[ability] != Ability::Lacking {
                known[ability] = Ability::Lacking;
                news.push(text);
            }
        }
        if !news.is_empty() {
            tracing::warn!("{place}: the server offers less than S3: {}", news.join("; "));
        }
    }

    /// Tries `attempt` the best way; if the server seems not to know a way, with less of what `relevant` names.
    ///
    /// # Errors
    /// Where no way works, the first fault: what else the server may dislike is said there.
    pub async fn degrade<T, Fut>(&self, place: &str, relevant: Ways, attempt: impl Fn(Ways) -> Fut) -> Result<T, Fault>
    where
        Fut: Future<Output = Result<T, Fault>>,
    {
        let best = self.best();
        let first = match attempt(best).await {
            Err(fault) if fault.smells_of_a_clone() => fault,
            done => return done,
        };
        for ways in lesser(best, relevant) {
            match attempt(ways).await {
                Ok(value) => {
                    let worked = Ways {
                        checksum: ways.checksum || !best.checksum,
                        condition: ways.condition || !best.condition,
                    };
                    self.lose(place, worked);
                    return Ok(value);
                }
                Err(fault) if fault.smells_of_a_clone() => {}
                other => return other,
            }
        }
        Err(first)
    }
}

/// The ways below the best one, those that give up less first.
fn lesser(best: Ways, relevant: Ways) -> Vec<Ways> {
    let checksum = best.checksum && relevant.checksum;
    let condition = best.condition && relevant.condition;
    let mut ways = Vec::new();
    if checksum {
        ways.push(Ways { checksum: false, ..best });
    }
    if condition {
        ways.push(Ways { condition: false, ..best });
    }
    if checksum && condition {
        ways.push(Ways { checksum: false, condition: false });
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Ways = Ways { checksum: true, condition: true };

    async fn try_on(abilities: &Abilities, server: Ways) -> Result<Ways, Fault> {
        let attempt = |ways: Ways| async move {
            if (ways.checksum && !server.checksum) || (ways.condition && !server.condition) {
                return Err(Fault::answer(501, Some("NotImplemented"), "A header is not implemented"));
            }
            Ok(ways)
        };
        abilities.degrade("s3://b", ALL, attempt).await
    }

    #[tokio::test]
    async fn only_the_missing_ability_is_given_up_and_is_not_tried_again() {
        for server in [
            ALL,
            Ways { checksum: false, ..ALL },
            Ways { condition: false, ..ALL },
            Ways { checksum: false, condition: false },
        ] {
            let abilities = Abilities::default();
            assert_eq!(try_on(&abilities, server).await.ok(), Some(server));
            assert_eq!(abilities.best(), server);
        }
    }

    #[tokio::test]
    async fn a_refusal_that_no_way_mends_is_reported_as_it_came_and_nothing_is_given_up() {
        let abilities = Abilities::default();
        let refuse = |_| async { Err::<(), _>(Fault::answer(400, Some("InvalidArgument"), "storage class")) };
        let fault = abilities.degrade("s3://b", ALL, refuse).await.err();
        assert!(fault.is_some_and(|fault| fault.code() == Some("InvalidArgument")));
        assert_eq!(abilities.best(), ALL);
    }
}
