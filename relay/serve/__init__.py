"""The processes of one relay: a supervisor, and a child for each part.

`relay serve` is the supervisor. It binds the ports once, passes them to its children,
starts these (`smtp-0`, `smtp-1` … take mail, `worker-0` logs it), starts those again
that end, answers for all of them at `telemetry.listen`, and passes signals on: SIGTERM
and SIGINT drain, SIGHUP puts new children in the place of the old ones.

`process` says which processes there are and is the supervisor's view of one, `child`
is the inside of one, with the channel between the two; `supervisor` keeps them all, and
`overview` answers for all of them. What a part does is `relay.app`'s business.
"""
