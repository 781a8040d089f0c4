-- include: keys, old_delivery
-- Rename the fields of these deliveries now, before something else reads them. ARGV: their ids.
even_when_full()
for _, id in ipairs(ARGV) do
  rename_fields(P .. 'delivery:' .. id)
end
