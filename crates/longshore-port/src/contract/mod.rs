//! The behaviour suite: what every port promises, one function per promise.
//!
//! A driver author writes a [`Bench`] and runs the suite with [`contract_tests!`](crate::contract_tests); the simulated
//! port runs the very same functions. Each test opens the ports of one world on one thread and lets
//! them talk to each other, so that nothing but the contract is needed:
//!
//! ```text
//! port 1: connect, send, receive  ◄── one world ──►  port 0: bind, listen, accept, attach
//! ```
//!
//! No test depends on how long something takes. What must happen is waited for, in a bounded number
//! of quiet rounds; what must not happen is looked for after the world has settled, so that a slow
//! machine can hide a fault but never invent one. Besides what it is about, each test has its every
//! completion judged by `Rig`: nothing after `Closed`, no end without its op, data back
//! whole, time that never goes back.
#![expect(clippy::missing_panics_doc, reason = "a test panics when a promise is broken")]

mod bench;
pub mod cancelling;
pub mod closing;
pub mod connecting;
pub mod files;
pub mod folders;
pub mod leasing;
pub mod moving;
pub mod receiving;
mod rig;
pub mod rules;
pub mod sending;
pub mod waiting;
pub mod watching;
pub mod wine;
pub mod working;

pub use bench::{Bench, TestFile};

/// Hands the list of all promises to a macro: `$then! { ($with) module::name … }`.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_promises {
    ([$($then:tt)+] $with:tt) => {
        $($then)+! { $with
            connecting::both_sides_learn_their_addresses_and_echo
            connecting::a_refused_connect_fails_and_then_closes
            connecting::a_close_of_a_failed_connect_is_harmless
            connecting::a_connection_comes_from_where_it_was_told_to
            connecting::a_listener_on_every_address_says_which_one_it_was
            connecting::accept_ends_when_its_credit_is_used_up
            connecting::a_cancelled_accept_loses_no_connection
            connecting::closing_a_listener_ends_its_accept_and_frees_its_address
            connecting::an_accepted_socket_that_nobody_wants_closes
            connecting::a_connect_closed_at_once_ends_with_closed
            connecting::a_cancelled_connect_fails_or_stands
            connecting::a_socket_of_another_world_is_handed_back
            receiving::credit_bounds_what_comes_and_a_new_one_goes_on
            receiving::the_end_of_the_stream_comes_once_and_never_as_bytes
            receiving::a_half_closed_side_still_receives
            receiving::a_reset_ends_the_receive_with_that_reason
            receiving::a_second_receive_is_a_bug_and_panics
            sending::try_ends_short_when_there_is_no_room
            sending::try_sends_segments_of_every_kind_in_order
            sending::whole_waits_until_the_peer_has_read
            sending::streams_are_equal_whatever_the_cuts
            sending::a_prompt_answer_needs_no_other_event
            sending::a_short_answer_needs_no_other_event
            sending::a_send_to_a_reset_peer_fails_with_its_data
            sending::a_second_send_is_a_bug_and_panics
            files::a_file_arrives_as_it_is
            files::files_and_memory_leave_in_order
            files::a_file_that_is_none_of_the_system_arrives_as_it_is
            files::a_file_that_was_shortened_says_so
            files::a_file_that_waits_for_room_ends_with_its_socket
            files::a_file_that_waits_for_room_is_cancelled
            files::a_file_that_is_not_at_hand_is_not_waited_for
            files::a_file_to_a_peer_that_is_gone_fails
            files::a_part_of_a_file_is_sent_alone
            files::a_part_of_a_file_is_read
            cancelling::no_byte_is_lost_between_a_cancel_and_the_next_receive
            cancelling::a_cancelled_receive_ends_even_when_nothing_comes
            cancelling::a_cancelled_whole_send_says_what_went_at_least
            cancelling::a_cancelled_send_leaves_the_receive_alone
            cancelling::cancel_without_an_op_does_nothing
            closing::close_ends_everything_and_says_closed_last
            closing::close_with_a_receive_in_flight_reaches_the_peer
            closing::close_delivers_what_was_sent_before
            closing::abort_resets_the_peer
            closing::abort_ends_a_send_that_is_stuck
            closing::a_close_behind_a_try_lets_it_go_first
            closing::a_stale_id_finds_nothing
            closing::an_op_after_close_is_a_bug_and_panics
            closing::a_reused_slot_never_gets_foreign_bytes
            closing::dropping_a_port_ends_its_connections
            closing::a_dropped_port_keeps_nothing_of_its_sends
            moving::a_socket_moves_while_it_receives
            moving::a_move_waits_for_the_send_in_flight
            moving::a_move_with_bytes_under_way_loses_none
            moving::abort_overtakes_a_move
            moving::a_socket_that_cannot_move_stays
            moving::a_socket_that_cannot_move_sends_first
            rules::each_op_has_its_kind_of_socket
            rules::a_second_accept_is_a_bug_and_panics
            rules::a_second_watch_is_a_bug_and_panics
            rules::a_stream_op_has_a_credit
            rules::a_send_has_something_to_send
            rules::a_send_has_a_greatest_size
            rules::a_send_that_waits_has_no_lease
            rules::shutdown_is_not_behind_an_unanswered_send
            rules::a_try_is_in_flight_until_it_is_answered
            rules::nothing_but_an_end_before_a_connection_stands
            rules::nothing_but_an_end_behind_a_cancelled_send
            leasing::starved_sockets_all_go_on_when_leases_return
            leasing::no_wait_is_drained_while_somebody_waits_for_a_lease
            leasing::a_lease_stays_as_it_is_while_others_come
            leasing::leases_of_a_send_come_home
            waiting::a_setting_out_of_its_range_opens_no_port
            waiting::until_a_time_never_ends_early
            waiting::a_notify_ends_a_wait
            waiting::two_notifies_are_one
            waiting::no_wait_returns_more_than_asked_and_drained_comes_at_last
            waiting::time_stands_still_between_waits
            watching::a_reset_is_told_though_nothing_is_received
            watching::the_end_of_a_stream_is_told_behind_unread_bytes
            watching::half_an_end_is_none_unless_asked_for
            watching::two_ends_are_the_end
            watching::what_came_before_the_watch_is_told
            watching::bytes_that_nobody_reads_keep_nobody_awake
            watching::a_cancelled_watch_ends
            watching::a_watch_ends_with_its_socket
            watching::a_watch_takes_nothing_from_a_receive
            watching::what_the_peer_has_not_taken_can_be_asked
            working::the_heap_is_trimmed
            working::a_job_gives_its_result_back
            working::a_panic_in_a_job_is_its_result
            working::names_that_are_addresses_resolve
            working::a_name_that_is_none_fails
        }
    };
}

/// Makes a `#[test]` of each promise. `$with` is a function that gets the test and runs it on a
/// [`Bench`](crate::contract::Bench), or on many of them.
///
/// ```
/// # use longshore_port::contract::Bench;
/// # use longshore_port::{DriverChoice, SystemWorld};
///
/// struct MyBench(SystemWorld);
///
/// impl Bench for MyBench {
///     type World = SystemWorld;
///
///     fn world(&self) -> SystemWorld {
///         self.0.clone()
///     }
/// }
///
/// fn on_my_driver(test: fn(&MyBench)) {
///     test(&MyBench(SystemWorld::new(DriverChoice::Auto).unwrap()));
/// }
///
/// longshore_port::contract_tests!(on_my_driver);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! contract_tests {
    ($with:path) => {
        $crate::contract_promises! { [$crate::contract_test_functions] ($with) }
    };
}

/// See [`contract_tests!`].
#[doc(hidden)]
#[macro_export]
macro_rules! contract_test_functions {
    (($with:path) $($module:ident::$name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $with($crate::contract::$module::$name);
            }
        )+
    };
}

/// A promise and its test.
pub type Promise<B> = (&'static str, fn(&B));

macro_rules! list_of_all {
    (() $($module:ident::$name:ident)+) => {
        /// All promises with their names, for programs that run the suite without a test harness.
        pub fn all<B: Bench>() -> Vec<Promise<B>> {
            vec![$((stringify!($name), $module::$name::<B>)),+]
        }
    };
}
contract_promises! { [list_of_all] () }
