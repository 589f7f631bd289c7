;; A module with a 64-bit memory: `add` goes through the memory, `grow` asks
;; for pages and gives the old size, or -1.
(module
  (memory (export "memory") i64 1)
  (func (export "add") (param $left i32) (param $right i32) (result i32)
    i64.const 8
    local.get $left
    i32.store
    i64.const 8
    i32.load
    local.get $right
    i32.add)
  (func (export "grow") (param $pages i64) (result i64)
    local.get $pages
    memory.grow))
