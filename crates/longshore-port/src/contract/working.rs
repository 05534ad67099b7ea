//! `Port::start`: jobs and names.

use super::bench::Bench;
use super::rig::Rig;
use crate::{Addr, ErrorKind, What, Work, WorkDone};
use std::net::SocketAddr;

fn done<B: Bench>(rig: &mut Rig<'_, B>, work: Work) -> WorkDone {
    let side = rig.start(0, work);
    let what = rig.next(side, "the end of the work", |_| true);
    let What::Work(done) = what else { panic!("{what:?} of work") };
    done
}

/// Memory that is kept for later goes back, where it can; the answer comes either way.
pub fn the_heap_is_trimmed<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    assert!(matches!(done(&mut rig, Work::TrimHeap), WorkDone::HeapTrimmed));
    rig.finish();
}

/// What the closure returns comes out under the token of its start, each its own.
pub fn a_job_gives_its_result_back<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let sides: Vec<_> =
        (0..20u32).map(|n| rig.start(0, Work::Job(Box::new(move || Box::new(n * n))))).collect();
    for (n, side) in (0..).zip(sides) {
        let what = rig.next(side, "the end of a job", |_| true);
        let What::Work(WorkDone::Job(Ok(result))) = what else { panic!("{what:?} of a job") };
        assert_eq!(result.downcast_ref::<u32>(), Some(&(n * n)));
    }
    rig.finish();
}

/// A panic ends the job, not its thread and not the port.
pub fn a_panic_in_a_job_is_its_result<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let work = Work::Job(Box::new(|| panic!("this job panics on purpose")));
    let WorkDone::Job(Err(payload)) = done(&mut rig, work) else { panic!("it did not panic") };
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"this job panics on purpose"));
    let WorkDone::Job(Ok(_)) = done(&mut rig, Work::Job(Box::new(|| Box::new(())))) else {
        panic!("the next job did not run")
    };
    rig.finish();
}

/// An address needs no look-up, and comes out like a name.
pub fn names_that_are_addresses_resolve<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    for (name, ip) in [("127.0.0.1:80", [127, 0, 0, 1]), ("10.1.2.3:65535", [10, 1, 2, 3])] {
        let WorkDone::Resolved(Ok(addrs)) = done(&mut rig, Work::Resolve(name.into())) else {
            panic!("{name} is an address")
        };
        let port = if ip[0] == 127 { 80 } else { 65_535 };
        assert_eq!(addrs, [Addr::from(SocketAddr::from((ip, port)))]);
    }
    rig.finish();
}

/// What is no name fails as not found, and with the name's own token.
pub fn a_name_that_is_none_fails<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    for name in ["", "a name without a port", "127.0.0.1:65536"] {
        let WorkDone::Resolved(Err(error)) = done(&mut rig, Work::Resolve(name.into())) else {
            panic!("{name:?} is no name")
        };
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
    rig.finish();
}
