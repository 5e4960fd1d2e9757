//! How a destination is spared, in virtual time: rate, concurrency that follows it, breaker.
