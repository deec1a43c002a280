"""A tiny program as libtpu prints it: a loop of three runs with a product, a copy and a collective."""

TEXT = """\
HloModule jit_step, is_scheduled=true

FileNames
1 "/a/jaxssl/models/layers/mlp.py"
2 "/a/jaxssl/models/layers/attention.py"
3 "/b/site-packages/optax/_src/update.py"

FunctionNames
1 "FeedForward.__call__"
2 "Attention.__call__"
3 "apply_updates"

FileLocations
1 {file_name_id=1 function_name_id=1 line=10 end_line=10 column=4 end_column=9}
2 {file_name_id=2 function_name_id=2 line=20 end_line=20 column=4 end_column=9}
3 {file_name_id=3 function_name_id=3 line=30 end_line=30 column=4 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}
3 {file_location_id=3 parent_frame_id=1}

%fused_product (p0: bf16[8,8], p1: bf16[8,8]) -> bf16[8,8] {
  %p0 = bf16[8,8]{1,0} parameter(0)
  %p1 = bf16[8,8]{1,0} parameter(1)
  %dot.1 = bf16[8,8]{1,0} convolution(%p0, %p1), dim_labels=bf_io->bf, \
metadata={op_name="a" stack_frame_id=1}
  ROOT %add.1 = bf16[8,8]{1,0} add(%dot.1, %p0), metadata={op_name="b" stack_frame_id=2}
}

%fused_slice (p2: bf16[3,8,8], p3: s32[]) -> bf16[8,8] {
  %p2 = bf16[3,8,8]{2,1,0} parameter(0)
  %p3 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %less = pred[] compare(%p3, %zero), direction=LT
  %slice = bf16[1,8,8]{2,1,0} dynamic-slice(%p2, %p3, %zero, %zero), dynamic_slice_sizes={1,8,8}
  ROOT %bitcast = bf16[8,8]{1,0} bitcast(%slice)
}

%body (state: (s32[], bf16[8,8])) -> (s32[], bf16[8,8]) {
  %state = (s32[], bf16[8,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[8,8]{1,0} get-tuple-element(%state), index=1
  %layer = bf16[8,8]{1,0} fusion(%w, %i), kind=kLoop, calls=%fused_slice, \
metadata={op_name="s" stack_frame_id=2}, backend_config={"estimated_cycles":"100"}
  %product = bf16[8,8]{1,0} fusion(%x, %layer), kind=kOutput, calls=%fused_product, \
metadata={op_name="b" stack_frame_id=2}, backend_config={"estimated_cycles":"1000"}
  ROOT %next = (s32[], bf16[8,8]{1,0}) tuple(%i, %product)
}

%condition (state.1: (s32[], bf16[8,8])) -> pred[] {
  %state.1 = (s32[], bf16[8,8]{1,0}) parameter(0)
  ROOT %go = pred[] constant(true)
}

ENTRY %main (a: bf16[8,8]) -> bf16[8,8] {
  %a = bf16[8,8]{1,0} parameter(0)
  %send = bf16[8,8]{1,0} all-reduce-start(%a), channel_id=1
  %loop = (s32[], bf16[8,8]{1,0}) while(%start), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %sent = bf16[8,8]{1,0} all-reduce-done(%send)
  %copy.1 = bf16[8,8]{0,1} copy(%sent), backend_config={"estimated_cycles":"50"}
  ROOT %update = bf16[8,8]{1,0} multiply(%copy.1, %a), metadata={op_name="c" stack_frame_id=3}, \
backend_config={"estimated_cycles":"25"}
}
"""
