"""Many syslog messages to JSON at once, where all of them are of the plainest form; about ten times as fast. Pure.

Plain is: RFC 3164 with a time, a host and a tag, or RFC 5424 without structured data, in UTF-8 without control
characters. One regular expression parts all lines of a block, and each becomes its object by one format. What comes
out is octet for octet what `multid.lines.jsonlines` makes of the lines one by one; a block with any other line is left
to it.
"""

import re
from functools import partial

from multid.lines import syslog

_PRI = {
    pri: b',"pri":%d,"facility":"%b","severity":"%b"' % (number, facility.encode(), severity.encode())
    for pri, (number, facility, severity) in syslog.PRIS.items()
}

_BSD = re.compile(
    rb"((<\d{1,3}>)((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3]\d \d\d:\d\d:\d\d )([!-9;-~]{1,255}) "
    rb"([^\s:\[\]%\\]{1,48})(?:\[([^\]\s\\]{0,128})\])?:(?: |(?=\n))(.*))\n"
)
_DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = rb"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_5424 = re.compile(
    rb"((<\d{1,3}>)1 (-|[12]\d{3}-" + _DAY + rb"T" + _TIME + rb") "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (?:\xef\xbb\xbf)?(.*))\n"
)


def render(begin: bytes, block: bytes, today: int) -> bytes | None:
    r"""Return an object for each line of a block, or None where any line is not plain.

    `begin` is what every object begins with; in the block `"` and `\` are escaped as JSON has them, and nothing else
    needed it. `today` is in days since 1970.
    """
    for pattern, form in ((_BSD, partial(_form_3164, today=today)), (_5424, _form_5424)):
        if pattern.match(block):
            found = pattern.findall(block)
            if sum([len(one[0]) for one in found]) + len(found) != len(block):
                return None  # something stands between them
            try:
                return form(begin, found)
            except KeyError:  # a priority or a time that there is not
                return None
    return None


def _form_3164(begin: bytes, found: list[tuple[bytes, ...]], *, today: int) -> bytes:
    times = {}
    for stamp in {one[2] for one in found}:
        when = syslog.nearest(stamp, today)
        if when is not None:
            times[stamp] = when.encode()
    return b"".join(
        [
            b'%b"%b"%b,"timestamp":"%b","host":"%b","app":"%b"%b,"message":"%b"}\n'
            % (begin, line, _PRI[pri], times[stamp], host, app, b',"procid":"%b"' % pid if pid else b"", message)
            for line, pri, stamp, host, app, pid, message in found
        ]
    )


def _form_5424(begin: bytes, found: list[tuple[bytes, ...]]) -> bytes:
    return b"".join(
        [
            b'%b"%b"%b%b%b%b%b%b,"message":"%b"}\n'
            % (
                begin,
                line,
                _PRI[pri],
                b"" if stamp == b"-" else b',"timestamp":"%b"' % stamp,
                b"" if host == b"-" else b',"host":"%b"' % host,
                b"" if app == b"-" else b',"app":"%b"' % app,
                b"" if pid == b"-" else b',"procid":"%b"' % pid,
                b"" if message_id == b"-" else b',"msgid":"%b"' % message_id,
                message,
            )
            for line, pri, stamp, host, app, pid, message_id, message in found
        ]
    )
