# Hashes, arrays, strings and objects made and dropped.
state = 99
draw = lambda { |n| state = (state * 48271) % 2147483647; state % n }
Item = Struct.new(:key, :values, :text)
live = {}
total = 0
300_000.times do |i|
  live[draw.call(15_000)] = Item.new(i, Array.new(draw.call(20), i), "item #{i} " * (1 + draw.call(10)))
  if i % 3 == 0
    old = live.delete(draw.call(15_000))
    total += old.text.split(' ').length + old.values.length if old
  end
  total += live.values.map(&:text).join(',').length if i % 30_000 == 0
end
puts "#{total} #{live.size}"
