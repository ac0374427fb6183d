"""What a study's broker is told: Mosquitto's settings, and who may do what.

Rules upheld here: one encrypted door, and nobody enters without a certificate of the study; who
somebody is comes from the certificate alone, as user name and as client id, so that no member
can end or take over another's session; a device publishes and reads under its own pseudonym
only; what is not allowed here is refused.

`deploy/mosquitto.conf` and `deploy/mosquitto.acl` are these, for a broker under systemd.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CONF_FILE: Final = "mosquitto.conf"
ACL_FILE: Final = "mosquitto.acl"
CA_FILE: Final = "study-ca.crt"
CRL_FILE: Final = "revoked.crl"

_CONF: Final = """\
# The broker of a study that spans more than one machine. `sottovoce study init` writes this file,
# and the others that it names, ready to be copied; see the README. Debian's own main file has the
# `persistence`, `persistence_location` and `log_dest` lines already: take them out there or here.
# On one machine you need none of this: `sottovoce coordinator` runs a broker of its own.

# One door, and it is encrypted. There is no plain listener, not even on loopback.
listener {listener}
protocol mqtt
tls_version tlsv1.2
cafile {folder}/study-ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
# Certificates that the study took back. After a change: systemctl reload mosquitto.
crlfile {folder}/revoked.crl

# A device is who its certificate says: the certificate's common name becomes the user name, and
# the access list gives each user its own topics only. It becomes the client id, too, or a member
# could end another's session by its name. For a device the common name is its pseudonym; for the
# coordinator it is "coordinator". So each has one connection at a time.
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/mosquitto.acl

# Messages wait here while somebody is away, also over a restart of the broker. At most ten
# seconds of acknowledged messages are lost when the machine loses power. Never together with
# autosave_on_changes: writing at every message is six times slower.
persistence true
persistence_location {state}/
persistence_file sottovoce.db
autosave_interval 10

# A short message goes out at once, not after the 40 ms in which TCP hopes for more to send.
set_tcp_nodelay true

# Nothing of ours is longer. A device has few messages on their way at a time.
max_packet_size 65536
max_inflight_messages 20
max_queued_messages 100000
# A device that is gone for good leaves nothing behind.
persistent_client_expiration 60d

# Who was connected when is a diary: neither logged nor offered ($SYS has only totals, and the
# access list gives it to nobody).
connection_messages false
log_type error
log_type warning
log_dest {log}
"""

_ACL: Final = """\
# Who may do what, by the name in their certificate (mosquitto.conf). What is not allowed here is
# refused. Topics: sync/topics.py. `sottovoce study init` writes this file for a study; by hand,
# replace STUDY by the study's name:  sed -i 's/STUDY/my-study/' mosquitto.acl

# The coordinator reads every report of its study, hears each device, and speaks to each and to all.
# It can't publish a report, nor in a device's name.
user coordinator
topic read sottovoce/v1/STUDY/report/+
topic read sottovoce/v1/STUDY/up/+
topic write sottovoce/v1/STUDY/down/+
topic write sottovoce/v1/STUDY/file/+
topic write sottovoce/v1/STUDY/all

# A device (%u is the common name of its certificate: its pseudonym) publishes its own reports and
# its own part of a round, and reads what is said to it and to all, and the files that it asked for.
# It can't speak for another, and can't read what is said or given to another.
pattern write sottovoce/v1/STUDY/report/%u
pattern write sottovoce/v1/STUDY/up/%u
pattern read sottovoce/v1/STUDY/down/%u
pattern read sottovoce/v1/STUDY/file/%u
pattern read sottovoce/v1/STUDY/all
"""

_REVOKED: Final = "\n# Revoked: nothing more, also in a session that is open.\n"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where a broker listens and keeps its things; the defaults are the deployed ones."""

    listener: str = "8883"
    folder: str = "/etc/sottovoce/broker"
    state: str = "/var/lib/mosquitto"
    log: str = "syslog"


def mosquitto_conf(settings: BrokerSettings) -> str:
    """Mosquitto's settings file."""
    return _CONF.format(
        listener=settings.listener, folder=settings.folder, state=settings.state, log=settings.log
    )


def mosquitto_acl(study: str, revoked: Iterable[str] = ()) -> str:
    """The access list; `revoked` pseudonyms are denied everything, whatever follows."""
    denied = "".join(f"user {pseudonym}\ntopic deny #\n" for pseudonym in revoked)
    return _ACL.replace("STUDY", study) + (_REVOKED + denied if denied else "")
