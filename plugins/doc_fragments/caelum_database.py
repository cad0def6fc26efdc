"""Documentation of the option `database`, which the modules that write records share."""

from __future__ import annotations

from typing import Final

FRAGMENT: Final = """
options:
  database:
    description: The login of pim_database to work with. Its password appears in no output.
    type: dict
    required: {required}
    suboptions:
      host:
        description: Address of the server.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 15433
      dbname:
        description: Name of the database.
        type: str
        default: pim_database
      user:
        description: Role to log in as.
        type: str
        required: true
      password:
        description: Password of that role.
        type: str
        required: true
      sslmode:
        description: How the connection is protected, as libpq names it.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: prefer
      ca:
        description: Certificates, as PEM, of which one must have signed the server's, for the two that verify it.
        type: str
        default: ""
requirements:
  - psycopg2
"""


class ModuleDocFragment:
    """`caelum_database` where a module needs the database, `caelum_database.optional` where it can do without."""

    DOCUMENTATION = FRAGMENT.format(required="true")
    OPTIONAL = FRAGMENT.format(required="false")
