# perl: hashes, regular expressions, strings that grow, sort, fork, threads.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: perl
# seconds: 90
cat > t.pl <<'END'
use strict; use warnings; use Data::Dumper; use List::Util qw(sum shuffle); use Storable qw(dclone freeze thaw);
my %h; $h{"key" . ($_ * 7919 % 10007)} .= "v$_," for 1 .. 200000;
print scalar(keys %h), " ", sum(map { length } values %h), "\n";
my $s = ""; $s .= "line $_ of text\n" for 1 .. 50000; my $n = () = $s =~ /(\d)\1/g; print "$n\n";
(my $t = $s) =~ s/(\w+) of (\w+)/$2 of $1/g; print length($t), "\n";
my @a = map { { id => $_, name => "n" x ($_ % 50) } } 1 .. 30000;
my @sorted = sort { length $a->{name} <=> length $b->{name} || $b->{id} <=> $a->{id} } @a; print $sorted[777]{id}, "\n";
my $copy = dclone(\@a); print scalar(@$copy), " ", length(freeze(\@a)), "\n"; undef @a; undef $copy;
for my $i (1 .. 10) { my $pid = fork; if (!$pid) { my @x = map { "y" x $_ } 1 .. 2000; exit($i) } waitpid $pid, 0; print $? >> 8, " "; }
print "\n";
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; 1 while push @sorted, 1 and @sorted < 3e6; alarm 0; };
if (eval { require threads; 1 }) { my @t = map { my $k = $_; threads->create(sub { my $x = join ",", map { $_ * $k } 1 .. 20000; length $x }) } 1 .. 4; print join(" ", map { $_->join } @t), "\n"; }
END
perl t.pl
