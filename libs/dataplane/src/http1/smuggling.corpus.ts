// Requests that servers have read in different ways, and what this codec makes of each: data for tests of the codec and of its neighbours.

/** One case. `requests`: those that are accepted, as `METHOD target body`; `refused`: the status of the refusal that ends the connection; neither to the end: `incomplete`. */
export type SmugglingCase = {
  readonly name: string;
  /** Latin-1. */
  readonly bytes: string;
  readonly requests: readonly string[];
  readonly refused?: number;
  readonly incomplete?: true;
};

const H = 'Host: a.example\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n';

function ok(name: string, bytes: string, ...requests: string[]): SmugglingCase {
  return { name, bytes, requests };
}

function no(name: string, bytes: string, refused = 400, ...requests: string[]): SmugglingCase {
  return { name, bytes, requests, refused };
}

function part(name: string, bytes: string, ...requests: string[]): SmugglingCase {
  return { name, bytes, requests, incomplete: true };
}

/** A GET whose field lines are given. */
function get(fields: string): string {
  return `GET /a HTTP/1.1\r\n${H}${fields}\r\n`;
}

/** A POST with a chunked body as given. */
function chunked(body: string): string {
  return `POST /a HTTP/1.1\r\n${H}${CHUNKED}\r\n${body}`;
}

/** A POST whose Content-Length has the value given, and four octets of body. */
function length(value: string): string {
  return `POST /a HTTP/1.1\r\n${H}Content-Length:${value}\r\n\r\nbody`;
}

/** A chunked POST whose Transfer-Encoding line is given whole, without its end. */
function coding(line: string, more = ''): string {
  return `POST /a HTTP/1.1\r\n${H}${line}\r\n${more}\r\n5\r\nhello\r\n0\r\n\r\n`;
}

const plain: readonly SmugglingCase[] = [
  ok('a plain request', get(''), 'GET /a '),
  ok('field names in any case', 'GET /a HTTP/1.1\r\nhOsT: a.example\r\nCONTENT-length: 0\r\n\r\n', 'GET /a '),
  ok('two requests in one piece', get('') + get('X: 1\r\n'), 'GET /a ', 'GET /a '),
  ok('a body of a known length', length(' 4'), 'POST /a body'),
  ok('a length without the space', length('4'), 'POST /a body'),
  ok('a length with leading zeros', length(' 0004'), 'POST /a body'),
  ok('a length with tabs around', length('\t4\t '), 'POST /a body'),
  ok('a body on a GET', `GET /a HTTP/1.1\r\n${H}Content-Length: 45\r\n\r\n${SMUGGLED.padEnd(45, 'x')}`, `GET /a ${SMUGGLED.padEnd(45, 'x')}`),
  ok('a chunked body', chunked('5\r\nhello\r\n0\r\n\r\n'), 'POST /a hello'),
  ok('a chunked body, then another request', chunked('5\r\nhello\r\n0\r\n\r\n') + get(''), 'POST /a hello', 'GET /a '),
  ok('chunk sizes in both cases and with zeros', chunked('A\r\n0123456789\r\n00b\r\n01234567890\r\n000\r\n\r\n'), 'POST /a 012345678901234567890'),
  ok('a chunk extension', chunked('5;name=value\r\nhello\r\n0;x\r\n\r\n'), 'POST /a hello'),
  ok('a quoted chunk extension', chunked('5;n="a b;c"\r\nhello\r\n0\r\n\r\n'), 'POST /a hello'),
  ok('a trailer', chunked('5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'), 'POST /a hello'),
  ok('data that looks like a chunk end', chunked('7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n'), 'POST /a 0\r\n\r\n\r\n'),
  ok('data that looks like a request', chunked(`${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`), `POST /a ${SMUGGLED}`),
  ok('chunked in any case', coding('transfer-encoding: ChUnKeD'), 'POST /a hello'),
  ok('an empty field value', get('X-Empty:\r\nX-Space:   \r\n'), 'GET /a '),
  ok('obs-text in a value', get('X: caf\xe9\x80\xff\r\n'), 'GET /a '),
  ok('a tab in a value', get('X: a\tb\r\n'), 'GET /a '),
  ok('every mark a name may have', get("!#$%&'*+-.^_`|~09azAZ: x\r\n"), 'GET /a '),
  ok('one empty line before the request', `\r\n${get('')}`, 'GET /a '),
  ok('an empty line between requests', `${get('')}\r\n${get('')}`, 'GET /a ', 'GET /a '),
  ok('absolute form: its authority wins over Host', 'GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n', 'GET /x?y '),
  ok('absolute form without a path', 'GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n', 'GET / '),
  ok('absolute form with a query alone', 'GET http://a.example?q HTTP/1.1\r\nHost: a.example\r\n\r\n', 'GET /?q '),
  ok('OPTIONS for the server', `OPTIONS * HTTP/1.1\r\n${H}\r\n`, 'OPTIONS * '),
  ok('OPTIONS for the server in absolute form', `OPTIONS http://a.example HTTP/1.1\r\n${H}\r\n`, 'OPTIONS * '),
  ok('a method nobody knows', `BREW /a HTTP/1.1\r\n${H}\r\n`, 'BREW /a '),
  ok('Host with a port', 'GET /a HTTP/1.1\r\nHost: a.example:8080\r\n\r\n', 'GET /a '),
  ok('Host in brackets', 'GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n', 'GET /a '),
  ok('Connection may not take the length away', `POST /a HTTP/1.1\r\n${H}Connection: content-length\r\nContent-Length: 4\r\n\r\nbody`, 'POST /a body'),
  ok('an upgrade nobody serves', get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'), 'GET /a '),
  ok('white space after a value', get('X: a \t \r\n'), 'GET /a '),
];

const startLines: readonly SmugglingCase[] = [
  no('HTTP/0.9', 'GET /\r\n\r\n'),
  no('HTTP/0.9 with a version', `GET / HTTP/0.9\r\n${H}\r\n`, 505),
  no('HTTP/2.0', `GET / HTTP/2.0\r\n${H}\r\n`, 505),
  no('the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
  no('HTTP/1.2', `GET / HTTP/1.2\r\n${H}\r\n`, 505),
  no('HTTP/1.10', `GET / HTTP/1.10\r\n${H}\r\n`),
  no('HTTP/1', `GET / HTTP/1\r\n${H}\r\n`),
  no('HTTP/1.', `GET / HTTP/1.\r\n${H}\r\n`),
  no('HTTP/11', `GET / HTTP/11\r\n${H}\r\n`),
  no('HTTP/+1.1', `GET / HTTP/+1.1\r\n${H}\r\n`),
  no('HTTP/01.1', `GET / HTTP/01.1\r\n${H}\r\n`),
  no('HTTP/1.1 with a letter', `GET / HTTP/1.1a\r\n${H}\r\n`),
  no('a lower-case version', `GET / http/1.1\r\n${H}\r\n`),
  no('another protocol', `GET / HTTPS/1.1\r\n${H}\r\n`),
  no('RTSP', `GET / RTSP/1.0\r\n${H}\r\n`),
  no('an empty version', `GET / \r\n${H}\r\n`),
  no('two spaces after the method', `GET  / HTTP/1.1\r\n${H}\r\n`),
  no('two spaces before the version', `GET /  HTTP/1.1\r\n${H}\r\n`),
  no('a space after the version', `GET / HTTP/1.1 \r\n${H}\r\n`),
  no('a tab after the method', `GET\t/ HTTP/1.1\r\n${H}\r\n`),
  no('a tab before the version', `GET /\tHTTP/1.1\r\n${H}\r\n`),
  no('a space before the method', ` GET / HTTP/1.1\r\n${H}\r\n`),
  no('a space in the target', `GET /a b HTTP/1.1\r\n${H}\r\n`),
  no('a version in the target', `GET / HTTP/1.1 HTTP/1.1\r\n${H}\r\n`),
  no('a vertical tab for a space', `GET\x0b/ HTTP/1.1\r\n${H}\r\n`),
  no('a form feed for a space', `GET\x0c/ HTTP/1.1\r\n${H}\r\n`),
  no('a no-break space', `GET\xa0/ HTTP/1.1\r\n${H}\r\n`),
  no('an empty method', ` / HTTP/1.1\r\n${H}\r\n`),
  no('a method with a colon', `GET: / HTTP/1.1\r\n${H}\r\n`),
  no('a method with a slash', `GE/T / HTTP/1.1\r\n${H}\r\n`),
  no('a method in brackets', `(GET) / HTTP/1.1\r\n${H}\r\n`),
  no('a method with an octet above ASCII', `G\xc9T / HTTP/1.1\r\n${H}\r\n`),
  no('a method of 33 octets', `${'A'.repeat(33)} / HTTP/1.1\r\n${H}\r\n`, 501),
  no('a quoted method', `"GET" / HTTP/1.1\r\n${H}\r\n`),
  no('two empty lines before the request', `\r\n\r\n${get('')}`),
  no('a lone LF before the request', `\n${get('')}`),
  no('a lone CR before the request', `\r${get('')}`),
  no('a field before the request line', `Host: a\r\n${get('')}`),
  no('a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  no('a PROXY header', `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${get('')}`),
];

const targets: readonly SmugglingCase[] = [
  no('a target without a slash', `GET a HTTP/1.1\r\n${H}\r\n`),
  no('a target that begins with a query', `GET ?a HTTP/1.1\r\n${H}\r\n`),
  no('a star for GET', `GET * HTTP/1.1\r\n${H}\r\n`),
  no('authority form for GET', `GET a.example:80 HTTP/1.1\r\n${H}\r\n`),
  no('a fragment', `GET /a#b HTTP/1.1\r\n${H}\r\n`),
  no('an octet above ASCII in the target', `GET /\xe9 HTTP/1.1\r\n${H}\r\n`),
  no('DEL in the target', `GET /\x7f HTTP/1.1\r\n${H}\r\n`),
  no('NUL in the target', `GET /\x00 HTTP/1.1\r\n${H}\r\n`),
  no('a CR in the target', `GET /\r HTTP/1.1\r\n${H}\r\n`),
  no('an LF in the target', `GET /\n HTTP/1.1\r\n${H}\r\n`),
  no('absolute form with a user', `GET http://u@a.example/ HTTP/1.1\r\n${H}\r\n`),
  no('absolute form with a user and a password', `GET http://u:p@a.example/ HTTP/1.1\r\n${H}\r\n`),
  no('absolute form of another scheme', `GET ftp://a.example/ HTTP/1.1\r\n${H}\r\n`),
  no('absolute form without a host', `GET http:///a HTTP/1.1\r\n${H}\r\n`),
  no('absolute form with a port that is none', `GET http://a:b/ HTTP/1.1\r\n${H}\r\n`),
  no('absolute form with a backslash', `GET http:\\\\a\\ HTTP/1.1\r\n${H}\r\n`),
  no('absolute form without Host', 'GET http://a.example/ HTTP/1.1\r\n\r\n'),
  no('absolute form with two hosts', 'GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n'),
  no('CONNECT', `CONNECT a.example:443 HTTP/1.1\r\n${H}\r\n`, 405),
  no('CONNECT with a body', `CONNECT a.example:443 HTTP/1.1\r\n${H}Content-Length: 4\r\n\r\nbody`, 405),
  no('CONNECT in origin form', `CONNECT /a HTTP/1.1\r\n${H}\r\n`, 405),
];

const hosts: readonly SmugglingCase[] = [
  no('no Host', 'GET / HTTP/1.1\r\n\r\n'),
  no('an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'),
  no('two Hosts', 'GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n'),
  no('the same Host twice', 'GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n'),
  no('a list of hosts', 'GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n'),
  no('a list of hosts without a space', 'GET / HTTP/1.1\r\nHost: a.example,b.example\r\n\r\n'),
  no('a user in Host', 'GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n'),
  no('a path in Host', 'GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n'),
  no('a query in Host', 'GET / HTTP/1.1\r\nHost: a.example?b\r\n\r\n'),
  no('a fragment in Host', 'GET / HTTP/1.1\r\nHost: a.example#b\r\n\r\n'),
  no('a space in Host', 'GET / HTTP/1.1\r\nHost: a.example b.example\r\n\r\n'),
  no('a tab in Host', 'GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n'),
  no('a port that is none', 'GET / HTTP/1.1\r\nHost: a.example:80a\r\n\r\n'),
  no('a port too long', 'GET / HTTP/1.1\r\nHost: a.example:123456\r\n\r\n'),
  no('two ports', 'GET / HTTP/1.1\r\nHost: a.example:80:81\r\n\r\n'),
  no('a bracket that does not close', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n'),
  no('a name behind brackets', 'GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n'),
  no('an octet above ASCII in Host', 'GET / HTTP/1.1\r\nHost: \xe9.example\r\n\r\n'),
  no('an escape in Host', 'GET / HTTP/1.1\r\nHost: a%2eexample\r\n\r\n'),
  no('a backslash in Host', 'GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n'),
  no('a Host with a space before the colon', 'GET / HTTP/1.1\r\nHost : a.example\r\n\r\n'),
  no('a folded Host', 'GET / HTTP/1.1\r\nHost: a.example\r\n b.example\r\n\r\n'),
];

const lines: readonly SmugglingCase[] = [
  no('bare LF after the request line', `GET / HTTP/1.1\n${H}\r\n`),
  no('bare LF after a field', 'GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n'),
  no('bare LF everywhere', 'GET / HTTP/1.1\nHost: a.example\n\n'),
  no('bare LF for the empty line', `GET / HTTP/1.1\r\n${H}\n`),
  no('bare CR after the request line', `GET / HTTP/1.1\r${H}\r\n`),
  no('bare CR in a value', get('X: a\rb\r\n')),
  no('bare CR before CRLF', get('X: a\r\r\n')),
  no('bare CR that hides a field', get(`X: a\rContent-Length: ${SMUGGLED.length}\r\n`) + SMUGGLED),
  no('bare LF that hides a field', get(`X: a\nContent-Length: ${SMUGGLED.length}\r\n`) + SMUGGLED),
  no('LF CR', get('X: a\n\r\n')),
  no('CR CR LF LF', `GET / HTTP/1.1\r\n${H}\r\r\n\n`),
  no('a folded field', get('X: a\r\n b\r\n')),
  no('a field folded with a tab', get('X: a\r\n\tb\r\n')),
  no('a fold before the first field', `GET / HTTP/1.1\r\n ${H}\r\n`),
  no('a line of white space for the empty one', `GET / HTTP/1.1\r\n${H} \r\n\r\n`),
  no('a folded length', `POST / HTTP/1.1\r\n${H}Content-Length:\r\n 4\r\n\r\nbody`),
  no('a folded coding', coding('Transfer-Encoding:\r\n chunked')),
  no('a space before the colon', get('X : a\r\n')),
  no('a tab before the colon', get('X\t: a\r\n')),
  no('a space before the colon of a length', `POST / HTTP/1.1\r\n${H}Content-Length : 4\r\n\r\nbody`),
  no('a space before the colon of a coding', coding('Transfer-Encoding : chunked')),
  no('a line without a colon', get('abc\r\n')),
  no('a colon without a name', get(': abc\r\n')),
  no('a name in quotes', get('"X": a\r\n')),
  no('a name with a space', get('X Y: a\r\n')),
  no('a name in brackets', get('X[]: a\r\n')),
  no('a name with a slash', get('X/Y: a\r\n')),
  no('a name with an at sign', get('X@Y: a\r\n')),
  no('a name with an octet above ASCII', get('X\xe9: a\r\n')),
  no('a name with a no-break space', get('Content-Length\xa0: 4\r\n')),
  no('a name with NUL', get('X\x00: a\r\n')),
  no('a value with NUL', get('X: a\x00b\r\n')),
  no('a value with DEL', get('X: a\x7f\r\n')),
  no('a value with a vertical tab', get('X: a\x0bb\r\n')),
  no('a value with a form feed', get('X: a\x0cb\r\n')),
  no('a value with a backspace', get('X: a\x08\r\n')),
  no('a value with an escape', get('X: \x1b[31m\r\n')),
  no('a value with SOH', get('X: \x01\r\n')),
  no('a value with US', get('X: \x1f\r\n')),
  no('a Connection that is no list', get('Connection: "close"\r\n')),
  no('a Connection with a space in an option', get('Connection: keep alive\r\n')),
  no('an expectation nobody knows', `POST / HTTP/1.1\r\n${H}Expect: 200-ok\r\nContent-Length: 4\r\n\r\nbody`, 417),
  no('two expectations', `POST / HTTP/1.1\r\n${H}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody`, 417),
  no('too many fields', get('X: y\r\n'.repeat(300)), 431),
  no('a head too large', get(`X: ${'y'.repeat(70_000)}\r\n`), 431),
  no('a target too long', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${H}\r\n`, 414),
];

const lengths: readonly SmugglingCase[] = [
  no('a length with a plus', length(' +4')),
  no('a length with a minus', length(' -4')),
  no('a minus and zero', length(' -0')),
  no('a hexadecimal length', length(' 0x4')),
  no('a length in hexadecimal digits', length(' a')),
  no('a length with an underscore', length(' 0_4')),
  no('a length with a point', length(' 4.0')),
  no('a length with an exponent', length(' 4e0')),
  no('a length with a comma', length(' 4,')),
  no('a list of lengths', length(' 4, 4')),
  no('a list of lengths that differ', length(' 4, 5')),
  no('a length with a space inside', length(' 4 4')),
  no('an empty length', length('')),
  no('a length in quotes', length(' "4"')),
  no('a length with a sign behind', length(' 4+')),
  no('a length with a semicolon', length(' 4;a')),
  no('a length beyond 64 bits', length(' 18446744073709551620')),
  no('a length beyond 63 bits', length(' 9223372036854775808')),
  no('a length with a digit above ASCII', length(' \xb2')),
  no('a length with NUL', length(' 4\x00')),
  no('the same length twice', `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody`),
  no('two lengths', `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody`),
  no('two lengths, zero first', `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\ncontent-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`),
  no('both framings, the length first', `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\n${CHUNKED}\r\n0\r\n\r\n`),
  no('both framings, the coding first', `POST / HTTP/1.1\r\n${H}${CHUNKED}Content-Length: 4\r\n\r\n0\r\n\r\n`),
  no('both framings with a length of zero', `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n${CHUNKED}\r\n0\r\n\r\n`),
  no('a length, and a coding nobody knows', `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nTransfer-Encoding: identity\r\n\r\nbody`),
  part('less body than its length', `POST /a HTTP/1.1\r\n${H}Content-Length: 100\r\n\r\nbody`),
  no('more body than its length', `POST /a HTTP/1.1\r\n${H}Content-Length: 2\r\n\r\nbody\r\n\r\n`, 400, 'POST /a bo'),
];

const codings: readonly SmugglingCase[] = [
  no('an empty coding', coding('Transfer-Encoding:')),
  no('identity', coding('Transfer-Encoding: identity'), 501),
  no('gzip', coding('Transfer-Encoding: gzip'), 501),
  no('gzip, then chunked', coding('Transfer-Encoding: gzip, chunked'), 501),
  no('chunked, then gzip', coding('Transfer-Encoding: chunked, gzip')),
  no('chunked, then identity', coding('Transfer-Encoding: chunked, identity')),
  no('chunked twice in one list', coding('Transfer-Encoding: chunked, chunked')),
  no('chunked in two fields', coding('Transfer-Encoding: chunked', CHUNKED)),
  no('identity and chunked in two fields', coding('Transfer-Encoding: identity', CHUNKED)),
  no('an empty field beside chunked', coding('Transfer-Encoding:', CHUNKED)),
  no('an empty element', coding('Transfer-Encoding: ,chunked')),
  no('an empty element behind', coding('Transfer-Encoding: chunked,')),
  no('chunked in quotes', coding('Transfer-Encoding: "chunked"')),
  no('chunked with a parameter', coding('Transfer-Encoding: chunked;a=b')),
  no('chunked with a vertical tab', coding('Transfer-Encoding: \x0bchunked')),
  no('chunked with NUL', coding('Transfer-Encoding: chunked\x00')),
  no('chunked with a letter more', coding('Transfer-Encoding: chunkedx')),
  no('chunked with a letter less', coding('Transfer-Encoding: chunke')),
  no('xchunked', coding('Transfer-Encoding: xchunked')),
  no('chunked with a no-break space', coding('Transfer-Encoding: \xa0chunked')),
  no('chunked with an underscore in the name', `POST /a HTTP/1.1\r\n${H}Transfer_Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`, 400, 'POST /a '),
  no('chunked with an old version', `POST /a HTTP/1.0\r\n${H}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`),
  no('chunked split by a colon', coding('Transfer-Encoding: :chunked')),
  no('chunked with a CR', coding('Transfer-Encoding: chunked\r')),
];

const chunks: readonly SmugglingCase[] = [
  no('a chunk size with 0x', chunked('0x5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a plus', chunked('+5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a minus', chunked('-5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with an underscore', chunked('0_5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a leading space', chunked(' 5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a space behind', chunked('5 \r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a tab behind', chunked('5\t\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a letter that is no digit', chunked('5g\r\nhello\r\n0\r\n\r\n')),
  no('an empty chunk size', chunked('\r\nhello\r\n0\r\n\r\n')),
  no('an extension without a size', chunked(';a\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size beyond 32 bits that wraps to 5', chunked('1000000000000000000000005\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size beyond 64 bits that wraps to 5', chunked('10000000000000005\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size of all ones', chunked('ffffffffffffffff\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a decimal point', chunked('5.0\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size in quotes', chunked('"5"\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with a comma', chunked('5,5\r\nhello\r\n0\r\n\r\n')),
  no('a chunk size with NUL', chunked('5\x00\r\nhello\r\n0\r\n\r\n')),
  no('bare LF after a chunk size', chunked('5\nhello\r\n0\r\n\r\n')),
  no('bare CR after a chunk size', chunked('5\rhello\r\n0\r\n\r\n')),
  no('CR CR LF after a chunk size', chunked('5\r\r\nhello\r\n0\r\n\r\n')),
  no('bare LF after chunk data', chunked('5\r\nhello\n0\r\n\r\n')),
  no('bare CR after chunk data', chunked('5\r\nhello\r0\r\n\r\n')),
  no('no line end after chunk data', chunked('5\r\nhello0\r\n\r\n')),
  no('more data than the chunk size', chunked('3\r\nhello\r\n0\r\n\r\n')),
  no('less data than the chunk size', chunked('6\r\nhello\r\n0\r\n\r\n')),
  no('bare LF after the last chunk', chunked('5\r\nhello\r\n0\n\r\n')),
  no('bare LF for the end of trailers', chunked('5\r\nhello\r\n0\r\n\n')),
  no('a bare LF in an extension', chunked('5;a\nhello\r\n0\r\n\r\n')),
  no('a bare CR in an extension', chunked('5;a\rb\r\nhello\r\n0\r\n\r\n')),
  no('a NUL in an extension', chunked('5;a\x00\r\nhello\r\n0\r\n\r\n')),
  no('a bare LF in a quoted extension', chunked('5;a="\n"\r\nhello\r\n0\r\n\r\n')),
  no('an extension too long', chunked(`5;${'a'.repeat(300)}\r\nhello\r\n0\r\n\r\n`)),
  no('many extensions', chunked(`${`1;${'a'.repeat(200)}\r\nx\r\n`.repeat(100)}0\r\n\r\n`)),
  no('a length in the trailers', chunked('0\r\nContent-Length: 5\r\n\r\n')),
  no('a coding in the trailers', chunked(`0\r\n${CHUNKED}\r\n`)),
  no('a Host in the trailers', chunked('0\r\nHost: b.example\r\n\r\n')),
  no('a folded trailer', chunked('0\r\nX: a\r\n b\r\n\r\n')),
  no('a trailer without a colon', chunked('0\r\nGET / HTTP/1.1\r\n\r\n')),
  no('a trailer with a space before the colon', chunked('0\r\nX : a\r\n\r\n')),
  no('a trailer with NUL', chunked('0\r\nX: \x00\r\n\r\n')),
  no('a bare LF in the trailers', chunked('0\r\nX: a\n\r\n')),
  no('too many trailers', chunked(`0\r\n${'X: y\r\n'.repeat(300)}\r\n`), 431),
  no('trailers too large', chunked(`0\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`), 431),
  part('no last chunk', chunked('5\r\nhello\r\n')),
  part('a last chunk without its end', chunked('5\r\nhello\r\n0\r\n')),
  part('a chunk size without its end', chunked('5')),
  part('a chunk that is cut off', chunked('ffffff\r\nhello')),
];

const after: readonly SmugglingCase[] = [
  ok('a request behind one with a length of zero', `POST /a HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n${SMUGGLED}`, 'POST /a ', 'GET /smuggled '),
  ok('a request in the body of another', `POST /a HTTP/1.1\r\n${H}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`, `POST /a ${SMUGGLED}`),
  no('garbage behind a request', `${get('')}garbage\r\n\r\n`, 400, 'GET /a '),
  no('a refused request behind a good one', `${get('')}GET / HTTP/1.1\r\nHost : b\r\n\r\n`, 400, 'GET /a '),
  part('half a request behind a good one', `${get('')}GET / HT`, 'GET /a '),
  no('a chunk left over', `${chunked('0\r\n\r\n')}5\r\nhello\r\n0\r\n\r\n`, 400, 'POST /a '),
  no('white space behind a request', `${get('')}   \r\n${get('')}`, 400, 'GET /a '),
  no('two bytes too many behind a body', `${length(' 4')}\n\n${get('')}`, 400, 'POST /a body'),
];

/** All cases. */
export const SMUGGLING_CASES: readonly SmugglingCase[] = [...plain, ...startLines, ...targets, ...hosts, ...lines, ...lengths, ...codings, ...chunks, ...after];
