#!/bin/sh
# through.sh COMMAND…  runs it as the first process of a container, and says by its exit code whether the work is through,
# which is what Kubernetes and AWS Batch ask:
#   0   through; also where some cases or vertebrae failed (code 1): the tables tell which, a retry would change nothing
#   75  stopped by SIGTERM with cases left: start it again (EX_TEMPFAIL of sysexits.h)
#   else what the command said: 2 what was asked for cannot be, 3 it could not go on
set -u
command='' stopped=''
trap 'stopped=yes; [ -z "$command" ] || kill -TERM "$command"' TERM
"$@" &
command=$!
# a signal that came before there was somebody to hand it to
[ -z "$stopped" ] || kill -TERM "$command"
code=0
wait "$command" || code=$?
# the signal ended the waiting, not the command
if [ -n "$stopped" ] && [ "$code" -gt 128 ]; then
    code=0
    wait "$command" || code=$?
fi
case $code in
0) exit 0 ;;
1) [ -z "$stopped" ] || exit 75 ;;
*) exit "$code" ;;
esac
echo "some cases failed: see tables/cases, and run --retry-failed" >&2
exit 0
