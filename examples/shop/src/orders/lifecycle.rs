//! How an order moves from stage to stage. Both databases ask here before they write.

use crate::proto::Stage;

/// What a database knows of an order before a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) stage: Stage,
    pub(super) payment_id: Option<String>,
}

/// A move that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pay { payment_id: String },
    Move { stage: Stage, note: String },
}

/// What is to be done about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is the next one.
    Record,
    /// It was recorded before.
    AlreadyRecorded,
}

/// Why a step, or an order, is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such order")]
    UnknownOrder,
    #[error("the order was paid already, by another payment")]
    PaidAlready,
    #[error("this payment paid another order: a new payment needs a new idempotency_key")]
    PaymentUsed,
    #[error("the order is not paid yet")]
    NotPaid,
    #[error("the order is at {current}: {wanted} is not its next stage", current = .current.as_str_name(), wanted = .wanted.as_str_name())]
    NotNext { current: Stage, wanted: Stage },
    #[error(
        "this idempotency_key was used for an order of other items: another order needs a new key"
    )]
    OtherItems,
}

// === impl Step ===

impl Step {
    /// Where the order is after it.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Pay { .. } => Stage::Paid,
            Self::Move { stage, .. } => *stage,
        }
    }

    pub(super) fn note(&self) -> &str {
        match self {
            Self::Pay { .. } => "Paid",
            Self::Move { note, .. } => note,
        }
    }

    pub(super) fn payment_id(&self) -> Option<&str> {
        match self {
            Self::Pay { payment_id } => Some(payment_id),
            Self::Move { .. } => None,
        }
    }

    /// Whether an order that stands so takes this step.
    ///
    /// # Errors
    /// The step is not the next one, or the order is another payment's.
    pub(super) fn decide(&self, order: &Standing) -> Result<Decision, Refusal> {
        match self {
            Self::Pay { payment_id } => match &order.payment_id {
                None => Ok(Decision::Record),
                Some(paid_by) if paid_by == payment_id => Ok(Decision::AlreadyRecorded),
                Some(_) => Err(Refusal::PaidAlready),
            },
            Self::Move { .. } if order.stage < Stage::Paid => Err(Refusal::NotPaid),
            Self::Move { stage, .. } if *stage <= order.stage => Ok(Decision::AlreadyRecorded),
            Self::Move { stage, .. } if *stage as i32 == order.stage as i32 + 1 => {
                Ok(Decision::Record)
            }
            Self::Move { stage, .. } => Err(Refusal::NotNext {
                current: order.stage,
                wanted: *stage,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(stage: Stage) -> Standing {
        let payment_id = (stage >= Stage::Paid).then(|| "p1".to_owned());
        Standing { stage, payment_id }
    }

    fn pay(id: &str) -> Step {
        Step::Pay {
            payment_id: id.to_owned(),
        }
    }

    fn go(stage: Stage) -> Step {
        Step::Move {
            stage,
            note: String::new(),
        }
    }

    #[test]
    fn an_order_is_paid_once() {
        assert_eq!(
            pay("p1").decide(&standing(Stage::Placed)),
            Ok(Decision::Record)
        );
        assert_eq!(
            pay("p1").decide(&standing(Stage::Packed)),
            Ok(Decision::AlreadyRecorded)
        );
        assert_eq!(
            pay("p2").decide(&standing(Stage::Paid)),
            Err(Refusal::PaidAlready)
        );
    }

    #[test]
    fn stages_go_forward_one_by_one() {
        assert_eq!(
            go(Stage::Packed).decide(&standing(Stage::Placed)),
            Err(Refusal::NotPaid)
        );
        assert_eq!(
            go(Stage::Packed).decide(&standing(Stage::Paid)),
            Ok(Decision::Record)
        );
        assert_eq!(
            go(Stage::Packed).decide(&standing(Stage::Delivered)),
            Ok(Decision::AlreadyRecorded)
        );
        assert_eq!(
            go(Stage::Delivered).decide(&standing(Stage::Paid)),
            Err(Refusal::NotNext {
                current: Stage::Paid,
                wanted: Stage::Delivered
            })
        );
    }
}
