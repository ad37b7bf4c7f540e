// 00 Set the parameters
// The other queries ask for these. $key is a decision or an entity, as adr:12 or carrier:A; $source is part of a name.
// Clocks: null is now, a date is datetime('2019-09-01'). The command line writes as tenant local, space default.
:param tenant => 'local';
:param space => 'default';
:param key => 'adr:1';
:param source => 'README.md';
:param validAt => null;
:param knownAt => null;
:param since => datetime() - duration('P7D');
:param until => null;
