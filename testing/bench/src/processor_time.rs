//! How much processor time a process has used.

use std::time::Duration;

/// The processor time of all threads of a process so far, that of the system included.
///
/// # Errors
/// There is no such process, or this is not Linux.
#[cfg(target_os = "linux")]
pub fn of_process(id: u32) -> anyhow::Result<Duration> {
    use nix::{time::clock_getcpuclockid, unistd::Pid};
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?))?;
    Ok(clock.now()?.into())
}

/// The processor time of all threads of a process so far, that of the system included.
///
/// # Errors
/// This is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn of_process(_: u32) -> anyhow::Result<Duration> {
    anyhow::bail!("only Linux has clocks of other processes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn it_grows_with_work() {
        let before = of_process(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while of_process(std::process::id()).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(of_process(std::process::id()).unwrap() > before);
    }
}
