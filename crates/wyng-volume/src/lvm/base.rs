//! The base of a thin volume, `VOL.tick`: proven, replaced, finished after a crash, and taken over from the original
//! program (decisions.md §5, behaviour.md §5.2, archive-format.md §11.4).

use super::Lvm;
use super::names::{ARCHIVE, BASE, DELTA, FRESH, MARK, OURS, SESSION, archive_tag, mark_tag};
use super::survey::Volume;
use crate::pool::{BaseEvidence, Inherited, LvmEvidence, Stamp};
use crate::{Label, NoBase, Property, Result};

/// By what `snapshot` is recognised once it bears this stamp; `None` if it is no thin volume.
fn evidence_of(snapshot: &Volume, stamp: &Stamp) -> Option<LvmEvidence> {
    let thin = snapshot.thin()?;
    Some(LvmEvidence {
        lv_uuid: snapshot.uuid.clone(),
        pool_uuid: thin.pool_uuid.clone(),
        thin_id: thin.id,
        transaction: thin.transaction,
        created: snapshot.created,
        size: snapshot.size,
        session: stamp.session.clone(),
        delta: stamp.delta,
        mark: stamp.mark.clone(),
    })
}

/// The first property in which a volume is not the thin volume of `evidence`, its tags apart.
fn differing(volume: &Volume, evidence: &LvmEvidence) -> Result<(), NoBase> {
    let thin = volume.thin().ok_or(NoBase::Missing)?;
    let differs = [
        (Property::Uuid, volume.uuid != evidence.lv_uuid),
        (Property::Pool, thin.pool_uuid != evidence.pool_uuid),
        (Property::ThinId, thin.id != evidence.thin_id),
        (Property::Transaction, thin.transaction != evidence.transaction),
        (Property::Created, volume.created != evidence.created),
        (Property::Size, volume.size != evidence.size),
        (Property::ReadOnly, volume.writable),
    ];
    none_of(&differs)
}

fn none_of(differs: &[(Property, bool)]) -> Result<(), NoBase> {
    match differs.iter().find(|(_, differs)| *differs) {
        Some((property, _)) => Err(NoBase::Mismatch { property: *property }),
        None => Ok(()),
    }
}

/// Fails unless the snapshot is the one of `evidence`.
pub(super) fn prove<'v>(
    snapshot: Option<&'v Volume>,
    label: &Label,
    evidence: &LvmEvidence,
) -> Result<&'v Volume, NoBase> {
    let snapshot = snapshot.ok_or(NoBase::Missing)?;
    differing(snapshot, evidence)?;
    let tagged = [OURS.to_owned(), archive_tag(label), evidence.session.clone()];
    let marked = match evidence.mark.as_str() {
        "" => snapshot.tags_of(MARK).next().is_none(),
        mark => snapshot.has_tag(&mark_tag(mark)),
    };
    none_of(&[
        (Property::Tags, !tagged.iter().all(|tag| snapshot.has_tag(tag))),
        (Property::Tags, snapshot.has_tag(DELTA) != evidence.delta),
        (Property::Mark, !marked),
    ])?;
    Ok(snapshot)
}

/// Makes the snapshot `fresh` the base, in place of the one that is there now, and tells its evidence.
///
/// # Errors
/// As [`Lvm::removable`], if something else has the name `base`; [`NoBase`].
pub(super) fn install(lvm: &Lvm, label: &Label, fresh: &str, base: &str, stamp: &Stamp) -> Result<BaseEvidence> {
    let mark = mark_tag(&stamp.mark);
    let mut arguments = vec!["--addtag", stamp.session.as_str(), "--addtag", &mark];
    // A wish to stop in the middle would cost the base.
    let tools = lvm.tools.unstoppable();
    let survey = lvm.survey()?;
    // What had the name when the volume was frozen may be another one by now.
    let is_replaced = lvm.removable(&survey, base, label)?;
    let snapshot = survey.find(&lvm.group, fresh).ok_or(NoBase::Missing)?;
    let evidence = evidence_of(snapshot, stamp).ok_or(NoBase::Missing)?;
    let delta = format!("{DELTA}-{}", snapshot.created);
    if stamp.delta {
        arguments.extend(["--addtag", DELTA, "--addtag", &delta]);
    }
    let full_name = snapshot.full_name();
    arguments.push(&full_name);
    tools.run("lvchange", &arguments)?;
    // crash here: the old base, whose record the caller has invalidated, and a fresh snapshot from which the next run
    // finishes, or which it removes.
    if is_replaced {
        lvm.remove(base)?;
    }
    // crash here: a fresh snapshot with its tags, from which the next run finishes, or the original would go on.
    tools.run("lvrename", &[&lvm.group, fresh, base])?;
    // crash here: new base, which no record describes yet.
    prove(lvm.survey()?.find(&lvm.group, base), label, &evidence)?;
    Ok(BaseEvidence::Lvm(evidence))
}

/// How [`finish`] recognises the fresh `snapshot` after a crash.
pub(super) fn journal(snapshot: &Volume, mark: &str) -> Option<String> {
    let stamp = Stamp {
        mark: mark.to_owned(),
        session: String::new(),
        delta: false,
    };
    // As it will be recognised, but for the session, which is not known yet.
    serde_json::to_string(&evidence_of(snapshot, &stamp)?).ok()
}

/// Makes the snapshot that a dead run took down in `journal` the base of `session`, wherever that run stopped. `None` if it
/// is gone.
pub(super) fn finish(
    lvm: &Lvm,
    name: &str,
    label: &Label,
    journal: &str,
    session: &str,
) -> Result<Option<BaseEvidence>> {
    let Ok(thin) = serde_json::from_str::<LvmEvidence>(journal) else {
        return Ok(None);
    };
    let stamp = Stamp {
        mark: thin.mark.clone(),
        session: session.to_owned(),
        delta: false,
    };
    let (fresh, base) = (format!("{name}{FRESH}"), format!("{name}{BASE}"));
    let survey = lvm.survey()?;
    let done = LvmEvidence {
        session: stamp.session.clone(),
        ..thin.clone()
    };
    if prove(survey.find(&lvm.group, &base), label, &done).is_ok() {
        return Ok(Some(BaseEvidence::Lvm(done)));
    }
    let is_it = survey.find(&lvm.group, &fresh).is_some_and(|fresh| {
        let clean = fresh.tags_of(SESSION).all(|tag| tag == session) && !fresh.has_tag(DELTA);
        clean && fresh.has_tag(OURS) && fresh.has_tag(&archive_tag(label)) && differing(fresh, &thin).is_ok()
    });
    if !is_it {
        return Ok(None);
    }
    install(lvm, label, &fresh, &base, &stamp).map(Some)
}

/// What the original program left as the base of a volume, as far as its tags allow it to be the state of `session`; `None` if
/// it bears our mark, or is of another archive or session.
pub(super) fn left_by_original(base: &Volume, label: &Label, session: &str) -> Option<Inherited> {
    let is_its = base.has_tag(OURS)
        && base.tags_of(ARCHIVE).eq([archive_tag(label).as_str()])
        && base.tags_of(SESSION).eq([session])
        && base.tags_of(MARK).next().is_none()
        && !base.writable;
    let moved_on = base.has_tag(DELTA);
    let stamp = Stamp {
        mark: String::new(),
        session: session.to_owned(),
        delta: moved_on,
    };
    let evidence = is_its.then(|| evidence_of(base, &stamp)).flatten()?;
    Some(Inherited {
        evidence: BaseEvidence::Lvm(evidence),
        time: base.created,
        size: base.size,
        moved_on,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lvm::survey::recorded;

    fn label() -> Label {
        Label {
            archive: "1234".to_owned(),
            volume: "Vol_1".to_owned(),
        }
    }

    const SENT: &str = "S_20261127-101500";

    /// The recorded `.tick` with these tags.
    fn tick(tags: &[&str]) -> Volume {
        let mut tick = recorded().find("vg-0", "vol.tick").unwrap().clone();
        tick.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        tick
    }

    #[test]
    fn a_snapshot_with_the_tags_of_the_original_is_taken_over_and_proven_by_what_it_is_now() {
        let sent = tick(&["wyng", "arch-1234", SENT]);
        let left = left_by_original(&sent, &label(), SENT).unwrap();
        assert_eq!((left.time, left.size, left.moved_on), (sent.created, sent.size, false));
        prove(Some(&sent), &label(), left.evidence.lvm().unwrap()).unwrap();
        let monitored = tick(&["wyng", "arch-1234", SENT, "delta", "delta-1795771883000000000"]);
        let left = left_by_original(&monitored, &label(), SENT).unwrap();
        assert!(left.moved_on);
        prove(Some(&monitored), &label(), left.evidence.lvm().unwrap()).unwrap();
        let changed = prove(Some(&sent), &label(), left.evidence.lvm().unwrap());
        assert!(matches!(
            changed,
            Err(NoBase::Mismatch {
                property: Property::Tags
            })
        ));
    }

    #[test]
    fn a_snapshot_with_other_tags_or_a_mark_of_ours_or_that_can_be_written_to_is_not_taken_over() {
        for tags in [
            &["wyng", "arch-1234"][..],
            &["wyng", "arch-1234", "S_20261127-101459"],
            &["wyng", "arch-1234", SENT, "S_20261127-101459"],
            &["wyng", "arch-12345", SENT],
            &["wyng", "arch-1234", "arch-5678", SENT],
            &["arch-1234", SENT],
            &["wyng", "arch-1234", SENT, "mark-abc"],
        ] {
            assert_eq!(left_by_original(&tick(tags), &label(), SENT), None, "{tags:?}");
        }
        let mut written = tick(&["wyng", "arch-1234", SENT]);
        written.writable = true;
        assert_eq!(left_by_original(&written, &label(), SENT), None);
    }

    #[test]
    fn a_base_is_not_proven_if_anything_of_it_differs() {
        let stamp = Stamp {
            mark: "abc".to_owned(),
            session: SENT.to_owned(),
            delta: false,
        };
        let good = tick(&["wyng", "arch-1234", SENT, "mark-abc"]);
        let evidence = evidence_of(&good, &stamp).unwrap();
        prove(Some(&good), &label(), &evidence).unwrap();
        let differs = |change: &dyn Fn(&mut Volume)| {
            let mut other = good.clone();
            change(&mut other);
            match prove(Some(&other), &label(), &evidence) {
                Err(NoBase::Mismatch { property }) => property,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(differs(&|v| v.uuid.push('x')), Property::Uuid);
        assert_eq!(differs(&|v| v.created += 1), Property::Created);
        assert_eq!(differs(&|v| v.size += 512), Property::Size);
        assert_eq!(differs(&|v| v.writable = true), Property::ReadOnly);
        assert_eq!(differs(&|v| v.tags.retain(|tag| tag != "wyng")), Property::Tags);
        assert_eq!(differs(&|v| v.tags.push("delta".to_owned())), Property::Tags);
        assert_eq!(differs(&|v| v.tags.retain(|tag| tag != "mark-abc")), Property::Mark);
        assert!(matches!(prove(None, &label(), &evidence), Err(NoBase::Missing)));
    }
}
