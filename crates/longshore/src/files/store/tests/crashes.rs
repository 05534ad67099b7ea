//! What a crash, a full disk or a failing one leaves.
