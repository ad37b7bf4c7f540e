// Latewood: set what the other queries ask for
// $key is a decision or an entity, as adr:12 or carrier:A. Clocks: null is now, a date is datetime('2019-09-01').
// Latewood's command line writes as tenant local; a space left out is default.
:param tenant => 'local';
:param space => 'default';
:param key => 'adr:1';
:param source => 'README.md';
:param validAt => null;
:param knownAt => null;
:param since => datetime() - duration('P7D');
:param until => null;
