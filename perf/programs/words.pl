# Hashes of arrays of strings, split, joined, sorted and dropped.
use strict;
use warnings;
my $state = 4321;
sub draw { $state = ($state * 48271) % 2147483647; return $state % $_[0]; }
my (%index, $total);
for my $i (1 .. 150000) {
    my $text = join ' ', map { 'w' . draw(5000) } 1 .. 5 + draw(6);
    push @{ $index{ 'k' . draw(4000) } }, $text;
    if ($i % 5 == 0) {
        my $gone = delete $index{ 'k' . draw(4000) };
        $total += scalar map { split / / } @$gone if $gone;
    }
}
for my $key (sort keys %index) {
    $total += length join ',', sort @{ $index{$key} };
}
print "$total ", scalar(keys %index), "\n";
