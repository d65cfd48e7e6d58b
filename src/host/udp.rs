//! Impure. UDP sockets: groups that share a port.

/// How the kernel chooses the worker that gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// By the source address: one client always meets the same worker.
    Source,
    /// By the CPU that received the packet: best where every CPU has a hardware queue of its own.
    Cpu,
    /// By the kernel's own hash of addresses and ports.
    Kernel,
}
