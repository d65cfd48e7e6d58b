# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ntpfront_global_optspecs
    string join \n 4/ipv4-workers= 6/ipv6-workers= a/ipv4-address= b/ipv6-address= s/upstream= u/user= r/chroot= d/debug c/config= h/help V/version
end

function __fish_ntpfront_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ntpfront_global_optspecs) -- $cmd 2>/dev/null
    or argparse -s (__fish_ntpfront_global_optspecs) -- $cmd x 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ntpfront_using_subcommand
    set -l cmd (__fish_ntpfront_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ntpfront -n "__fish_ntpfront_needs_command" -s 4 -l ipv4-workers -d 'Workers of every IPv4 listener, 0 to 1024; 0 serves no IPv4 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s 6 -l ipv6-workers -d 'Workers of every IPv6 listener, 0 to 1024; 0 serves no IPv6 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s a -l ipv4-address -d 'Serve on this IPv4 address; repeatable [default: 0.0.0.0:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s b -l ipv6-address -d 'Serve on this IPv6 address; repeatable [default: [::]:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s s -l upstream -d 'Poll this upstream server, an address or a name; repeatable [default: 127.0.0.1:11123]' -r -f -a "(__fish_print_hostnames)"
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s u -l user -d 'Become this user once the sockets are open [default: keep the current user]' -r -f -a "(__fish_complete_users)"
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s r -l chroot -d 'Make this directory the root directory once the sockets are open [default: no chroot]' -r -f -a "(__fish_complete_directories)"
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s c -l config -d 'Read this configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s d -l debug -d 'Also log debugging messages: the same as log.level = "debug"'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -s V -l version -d 'Print version'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "check" -d 'Check the configuration file and flags, and print all errors'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "config" -d 'Print the effective configuration, with the origin of each value'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "query" -d 'Poll one server once, and show its answer and whether it is usable'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "import" -d 'Convert a chrony.conf, ntp.conf or ntp.toml, and list each line that cannot be converted'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "status" -d 'Show the running server on one screen: time, requests, upstreams'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "upstreams" -d 'Show all details of each upstream'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "top" -d 'Show the status, refreshed every second, until Ctrl-C'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "clients" -d 'Show the clients of the last hour: how many, the busiest, how often they ask'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "history" -d 'Show what was served, from the record (history.directory), whether the server runs or not'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "report" -d 'Report on a month of what was served: coverage, error, each excess of a limit, sources, gaps'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "leap" -d 'Show what is known of the next leap second, and what each listener serves around it'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "rehearse" -d 'Serve a made-up time that runs through a leap second, to try clients'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "health" -d 'Check whether the running server is healthy: exit status 0 yes, 1 no, 2 it does not answer'
complete -c ntpfront -n "__fish_ntpfront_needs_command" -f -a "nts-secret" -d 'Print a new secret for nts.secret: a line of 32 random bytes in base64'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s 4 -l ipv4-workers -d 'Workers of every IPv4 listener, 0 to 1024; 0 serves no IPv4 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s 6 -l ipv6-workers -d 'Workers of every IPv6 listener, 0 to 1024; 0 serves no IPv6 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s a -l ipv4-address -d 'Serve on this IPv4 address; repeatable [default: 0.0.0.0:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s b -l ipv6-address -d 'Serve on this IPv6 address; repeatable [default: [::]:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s s -l upstream -d 'Poll this upstream server, an address or a name; repeatable [default: 127.0.0.1:11123]' -r -f -a "(__fish_print_hostnames)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s u -l user -d 'Become this user once the sockets are open [default: keep the current user]' -r -f -a "(__fish_complete_users)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s r -l chroot -d 'Make this directory the root directory once the sockets are open [default: no chroot]' -r -f -a "(__fish_complete_directories)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s c -l config -d 'Read this configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s d -l debug -d 'Also log debugging messages: the same as log.level = "debug"'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -l against-running -d 'Also ask the running server what a reload would change, and what needs a restart'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand check" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s 4 -l ipv4-workers -d 'Workers of every IPv4 listener, 0 to 1024; 0 serves no IPv4 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s 6 -l ipv6-workers -d 'Workers of every IPv6 listener, 0 to 1024; 0 serves no IPv6 [default: 1]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s a -l ipv4-address -d 'Serve on this IPv4 address; repeatable [default: 0.0.0.0:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s b -l ipv6-address -d 'Serve on this IPv6 address; repeatable [default: [::]:123]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s s -l upstream -d 'Poll this upstream server, an address or a name; repeatable [default: 127.0.0.1:11123]' -r -f -a "(__fish_print_hostnames)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s u -l user -d 'Become this user once the sockets are open [default: keep the current user]' -r -f -a "(__fish_complete_users)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s r -l chroot -d 'Make this directory the root directory once the sockets are open [default: no chroot]' -r -f -a "(__fish_complete_directories)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s c -l config -d 'Read this configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s d -l debug -d 'Also log debugging messages: the same as log.level = "debug"'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand config" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand query" -l ca -d 'File with the certificates (PEM) that are trusted instead of the system\'s' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand query" -l pool -d 'Poll three times and show how the NTP Pool\'s monitor would score the server (exit status 0: it would be listed)'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand query" -l nts -d 'Establish keys with NTS first (the port is that of key establishment, 4460 by default), and show what a client sees'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand query" -l json -d 'Print the answer as one JSON object'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand query" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand import" -l from -d 'Format of the files [default: detect automatically]' -r -f -a "chrony\t'chrony.conf of chronyd'
ntp\t'ntp.conf of ntpd (NTPsec or NTP Project)'
ntpd-rs\t'ntp.toml of ntpd-rs'"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand status" -l socket -d 'The control socket of the running server [default: control.socket of the configuration]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand status" -s c -l config -d 'Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand status" -l json -d 'Print one JSON object, whose names are stable'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand status" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand upstreams" -l socket -d 'The control socket of the running server [default: control.socket of the configuration]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand upstreams" -s c -l config -d 'Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand upstreams" -l json -d 'Print one JSON object, whose names are stable'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand upstreams" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand top" -l socket -d 'The control socket of the running server [default: control.socket of the configuration]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand top" -s c -l config -d 'Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand top" -l json -d 'Print one JSON object, whose names are stable'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand top" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand clients" -l socket -d 'The control socket of the running server [default: control.socket of the configuration]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand clients" -s c -l config -d 'Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand clients" -l json -d 'Print one JSON object, whose names are stable'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand clients" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l at -d 'Show what was served at this moment (exit status 0: a time, 1: no time was announced, 2: no record)' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l since -d 'Begin at this time in UTC (2026-11-27T12:03:07), or this time before now (2h, 7d) [default: an hour before the end]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l until -d 'End at this time [default: now]' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l svg -d 'Draw the curves to this file, as SVG' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l png -d 'Draw the curves to this file, as PNG' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l directory -d 'Directory of the record [default: history.directory of the configuration]' -r -f -a "(__fish_complete_directories)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -s c -l config -d 'Configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l events -d 'Print only what happened, a line each: changes, starts, stops, gaps'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l csv -d 'Print the served time as CSV, a row per record'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -l json -d 'Print the lines of the record as they are, a JSON object each'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -l month -d 'The month: 2026-11' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -l limit -d 'The limit of the error: a name of history.limits, or seconds' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -l directory -d 'Directory of the record [default: history.directory of the configuration]' -r -f -a "(__fish_complete_directories)"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -s c -l config -d 'Configuration file [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -l csv -d 'Print CSV instead of Markdown'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand report" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -s c -l config -d 'Configuration file with the listeners [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -l suppose -d 'Suppose that this leap second comes: at the end of the next June or December, or of the month nearest to --at' -r -f -a "insert\t'A second is inserted: 23:59:60'
delete\t'A second is deleted: there is no 23:59:59'"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -l at -d 'Show what is served at this moment only, in UTC: 2026-12-31T23:59:59Z' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -l every -d 'Seconds between the lines of that table, 1 or more' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -l csv -d 'Print a table for programs (CSV) instead, from 25 hours before the leap second to 25 hours after it'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand leap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -l listen -d 'The address to serve on: a loopback or private one' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -l suppose -d 'The leap second' -r -f -a "insert\t'A second is inserted: 23:59:60'
delete\t'A second is deleted: there is no 23:59:59'"
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -l start -d 'The made-up time at the start: a time of day on the last day of the next June or December, or a time in UTC' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -l for -d 'Seconds after which it ends: up to 7200' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -s c -l config -d 'Configuration file with the smear table [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -l smear -d 'Smear the leap second, as the smear table of the configuration has it'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand rehearse" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand health" -l max-distance -d 'Not healthy if the maximum error of the time is over this limit' -r -f
complete -c ntpfront -n "__fish_ntpfront_using_subcommand health" -l socket -d 'The control socket of the running server [default: control.socket of the configuration]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand health" -s c -l config -d 'Configuration file that names the socket [default: /etc/ntpfront/ntpfront.toml if it exists]' -r -F
complete -c ntpfront -n "__fish_ntpfront_using_subcommand health" -l json -d 'Print one JSON object, whose names are stable'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand health" -s h -l help -d 'Print help'
complete -c ntpfront -n "__fish_ntpfront_using_subcommand nts-secret" -s h -l help -d 'Print help'
