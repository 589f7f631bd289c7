//! seccomp: the system calls that computing needs, and no other.
//!
//! Whatever is not in the list fails with `EPERM` rather than ending the process: a C library that
//! asks for a convenience goes on without it, and a hostile one gains nothing by asking. Two
//! filters are stacked, since one can refuse in one way only: `clone3` keeps its flags in memory,
//! where no filter sees them, and libraries use `clone` instead where it is said not to exist.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Calls that are harmless whatever their arguments: memory of its own, waiting, time, and the
/// descriptors that it has.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    // Refused as unknown by the filter below this one.
    libc::SYS_clone3,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Installs both filters on this thread and those that it starts; whether they hold.
pub(crate) fn allow_computing_only() -> bool {
    let Some(programs) = programs() else {
        return false;
    };
    programs.iter().all(|program| apply_filter(program).is_ok())
}

/// In the order in which they are installed. `None` on an architecture that has no filter.
fn programs() -> Option<[BpfProgram; 2]> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let no_clone3 = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        refuse(libc::ENOSYS),
        arch,
    );
    let computing = SeccompFilter::new(allowed()?, refuse(libc::EPERM), SeccompAction::Allow, arch);
    let compiled = |filter: SeccompFilter| BpfProgram::try_from(filter).ok();
    Some([compiled(no_clone3.ok()?)?, compiled(computing.ok()?)?])
}

fn allowed() -> Option<BTreeMap<c_long, Vec<SeccompRule>>> {
    // Without conditions a call is allowed as it comes.
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let mut only = |call: c_long, condition: SeccompCondition| {
        let rule = SeccompRule::new(vec![condition]).ok()?;
        rules.entry(call).or_default().push(rule);
        Some(())
    };
    // Threads, not processes; no namespace can be asked for together with this flag.
    let thread = flags(libc::CLONE_THREAD);
    only(
        libc::SYS_clone,
        argument(0, SeccompCmpOp::MaskedEq(thread), thread)?,
    )?;
    // Nothing that was written becomes code.
    let code = flags(libc::PROT_EXEC);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        only(call, argument(2, SeccompCmpOp::MaskedEq(code), 0)?)?;
    }
    // Runtimes name their threads and ask how large their stacks may be.
    let name = flags(libc::PR_SET_NAME);
    only(libc::SYS_prctl, argument(0, SeccompCmpOp::Eq, name)?)?;
    only(libc::SYS_prlimit64, wide_argument(2, 0)?)?;
    // `abort` signals this process; no other may be.
    let own = u64::from(std::process::id());
    only(libc::SYS_tgkill, argument(0, SeccompCmpOp::Eq, own)?)?;
    Some(rules)
}

fn flags(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value).ok()
}

fn wide_argument(index: u8, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value).ok()
}
