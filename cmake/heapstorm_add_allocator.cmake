# heapstorm_add_allocator(NAME SOURCES FILE... [PREFIX my_ | ADAPTER FILE.c] [INCLUDES DIRECTORY...] [CFLAGS FLAG...]
#                         [REGRESS FILE...] [BUDGET TIME])
#
# Has an allocator tested by heapstorm. It is compiled and linked with the engine when the project is built (targets NAME-heapstorm-VARIANT, part
# of `all`), and there are
#
#   tests    NAME.fuzz, NAME.fuzz_threads, NAME.stress, NAME.explore, each for BUDGET (default 10s), and NAME.replay for the programs of REGRESS,
#            which have to be clean or end as they expect. Those with threads are skipped where the adapter says that it is for one thread.
#   targets  NAME-fuzz, NAME-stress and NAME-explore, which run until something is found or they are interrupted (stress: an hour), and
#            NAME-replay, which runs the programs of REGRESS and of the failures that were kept in heapstorm-failures of the build folder
#
#   PREFIX   the functions are those of libc with this prefix: my_malloc, my_free, ... (default my_)
#   ADAPTER  in its place: defines `const struct allocator heapstorm_allocator`, see heapstorm/allocator.h
#
# From a shell it is `heapstorm VERB FOLDER`, where FOLDER is ${CMAKE_CURRENT_BINARY_DIR}/heapstorm/NAME.
function(heapstorm_add_allocator name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "PREFIX;ADAPTER;BUDGET" "SOURCES;INCLUDES;CFLAGS;REGRESS")
	if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES)
		message(FATAL_ERROR "heapstorm_add_allocator(${name}): ${arg_UNPARSED_ARGUMENTS} ${arg_KEYWORDS_MISSING_VALUES} is not understood")
	endif()
	if(NOT arg_SOURCES)
		message(FATAL_ERROR "heapstorm_add_allocator(${name}) needs SOURCES")
	endif()
	if(arg_PREFIX AND arg_ADAPTER)
		message(FATAL_ERROR "heapstorm_add_allocator(${name}): PREFIX and ADAPTER exclude each other")
	endif()
	if(NOT arg_BUDGET)
		set(arg_BUDGET 10s)
	endif()

	set(folder "${CMAKE_CURRENT_BINARY_DIR}/heapstorm/${name}")
	set(failures "${CMAKE_CURRENT_BINARY_DIR}/heapstorm-failures")
	set(sources)
	foreach(list SOURCES REGRESS ADAPTER INCLUDES)
		set(absolute)
		foreach(file ${arg_${list}})
			get_filename_component(file "${file}" ABSOLUTE)
			list(APPEND absolute "${file}")
		endforeach()
		set(arg_${list} ${absolute})
	endforeach()
	set(options --out "${folder}" --cc "${heapstorm_COMPILER}")
	if(arg_ADAPTER)
		list(APPEND options --adapter "${arg_ADAPTER}")
	elseif(arg_PREFIX)
		list(APPEND options --prefix "${arg_PREFIX}")
	endif()
	foreach(directory "${CMAKE_CURRENT_SOURCE_DIR}" ${arg_INCLUDES})
		list(APPEND options --include "${directory}")
	endforeach()
	list(JOIN arg_CFLAGS " " cflags)

	set(processes_plain runner-plain stress-plain)
	set(processes_asan runner-asan stress-asan)
	set(processes_fuzz fuzz_sequence)
	set(processes_tsan stress-tsan)
	set(processes_sched runner-sched)
	set(processes_schedfuzz fuzz_threads)
	file(GLOB parts "${heapstorm_SHARE}/*.sh" "${heapstorm_SHARE}/bundle/*" "${heapstorm_LIBRARY_DIR}/heapstorm/*.a"
		"${heapstorm_LIBRARY_DIR}/libheapstorm*.a")
	foreach(variant plain asan fuzz tsan sched schedfuzz)
		list(TRANSFORM processes_${variant} PREPEND "${folder}/")
		add_custom_command(
			OUTPUT ${processes_${variant}}
			COMMAND sh "${heapstorm_SHARE}/build_allocator.sh" ${options} --variant ${variant} --cflags "${cflags}"
				--depfile "${folder}.${variant}.d" -- ${arg_SOURCES}
			DEPENDS ${arg_SOURCES} ${arg_ADAPTER} ${parts}
			DEPFILE "${folder}.${variant}.d"
			COMMENT "Building ${name} for heapstorm (${variant})"
			VERBATIM)
		add_custom_target(${name}-heapstorm-${variant} ALL DEPENDS ${processes_${variant}})
	endforeach()

	# Where what fails is kept, the test says.
	set(keep --out "${failures}")
	set(all_variants ${name}-heapstorm-plain ${name}-heapstorm-asan ${name}-heapstorm-fuzz ${name}-heapstorm-tsan ${name}-heapstorm-sched
		${name}-heapstorm-schedfuzz)
	set(fuzz fuzz "${folder}" ${keep})
	set(stress stress "${folder}" ${keep})
	set(explore explore "${folder}" ${keep})
	set(replay replay --expect --allocator "${folder}")
	foreach(verb fuzz stress explore)
		set(limit)
		if(verb STREQUAL stress)
			set(limit --time 1h)
		elseif(verb STREQUAL explore)
			set(limit --runs 4000000000)
		endif()
		add_custom_target(${name}-${verb} COMMAND "${heapstorm_COMMAND}" ${${verb}} ${limit} USES_TERMINAL VERBATIM)
		add_dependencies(${name}-${verb} ${all_variants})
	endforeach()
	add_custom_target(${name}-replay
		COMMAND sh -c "shift; for file in \"$0\"/*/program.heap; do [ ! -e \"$file\" ] || set -- \"$@\" \"$file\"; done; exec \"$@\""
			"${failures}" -- "${heapstorm_COMMAND}" ${replay} ${arg_REGRESS}
		USES_TERMINAL VERBATIM)
	add_dependencies(${name}-replay ${all_variants})

	add_test(NAME ${name}.fuzz COMMAND "${heapstorm_COMMAND}" ${fuzz} --budget ${arg_BUDGET})
	add_test(NAME ${name}.fuzz_threads COMMAND "${heapstorm_COMMAND}" ${fuzz} --threads --budget ${arg_BUDGET})
	add_test(NAME ${name}.stress COMMAND "${heapstorm_COMMAND}" ${stress} --time ${arg_BUDGET})
	add_test(NAME ${name}.explore COMMAND "${heapstorm_COMMAND}" ${explore} --runs 4000000000 --budget ${arg_BUDGET})
	set(tests ${name}.fuzz ${name}.fuzz_threads ${name}.stress ${name}.explore)
	set_tests_properties(${name}.fuzz_threads ${name}.stress ${name}.explore PROPERTIES
		SKIP_REGULAR_EXPRESSION "heapstorm: .* is for one thread")
	if(arg_REGRESS)
		add_test(NAME ${name}.replay COMMAND "${heapstorm_COMMAND}" ${replay} ${arg_REGRESS})
		list(APPEND tests ${name}.replay)
	endif()
	set_tests_properties(${tests} PROPERTIES LABELS heapstorm)
endfunction()
