// The application and the client of the VM: Perl is all that a bare Debian has to speak HTTP with.

/** Serves payments as the sample workload does; the port is its argument. */
export const PERL_WORKLOAD = String.raw`
use strict; use IO::Socket::INET; $| = 1; $SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 64, ReuseAddr => 1) or die "listen: $!\n";
print "ready\n";
while (1) {
  my $client = $server->accept or next;
  next if fork;
  my $caller = '';
  while (my $line = <$client>) {
    last if $line =~ /^\r?\n$/;
    $caller = $1 if $line =~ /^x-forwarded-client-cert:\s*(.*?)\r?\n/i;
  }
  $caller =~ s/(["\\])/\\$1/g;
  my $body = qq({"cluster":"east","instance":"payments-vm","caller":"$caller"});
  print $client "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " . length($body) . "\r\nconnection: close\r\n\r\n$body";
  exit;
}`;

/** One GET of / at the address and port given; the body on standard output. */
export const PERL_CLIENT = String.raw`
use strict; use IO::Socket::INET;
my ($host, $port) = @ARGV;
my $server = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 10) or die "connect $host:$port: $!\n";
print $server "GET / HTTP/1.1\r\nhost: $host\r\nconnection: close\r\n\r\n";
local $/; my $answer = <$server> // '';
$answer =~ m{^HTTP/1\.1 200} or die "answer: " . substr($answer, 0, 200) . "\n";
$answer =~ /(\{.*\})/s or die "no JSON in the answer\n";
print $1;`;
