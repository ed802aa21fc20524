# ruby: objects, strings, threads, fork, compaction.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: ruby
# seconds: 90
cat > t.rb <<'END'
require 'json'; require 'set'; require 'digest'; require 'zlib'
h = Hash.new { |x, k| x[k] = [] }; 200_000.times { |i| h["k#{i % 5003}"] << "v#{i}" }
puts h.size, h.values.sum(&:size)
t = JSON.generate(h); puts t.size, JSON.parse(t) == h, Digest::SHA256.hexdigest(t)
puts Zlib::Inflate.inflate(Zlib::Deflate.deflate(t)).size
puts 4.times.map { |k| Thread.new { (1..30000).map { |i| (i * k).to_s * 3 }.to_set.size } }.map(&:value).inspect
5.times { |i| pid = fork { exit!((1..20000).map(&:to_s).size % 200 + i) }; Process.wait(pid); print $?.exitstatus, " " }
puts; GC.start; GC.compact if GC.respond_to?(:compact)
puts (1..2000).inject(:*).to_s.size
END
ruby t.rb
