"""Facts of the machine under ``--path.proc`` and ``--path.sys``. No third party, no asyncio."""
