# Functions that the directories share.

# Only clang brings libFuzzer and the runtimes that the sanitized variants are linked with.
set(HEAPSTORM_FUZZING OFF)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 16)
	set(HEAPSTORM_FUZZING ON)
endif()

# heapstorm_existing(VARIABLE FILE...) sets VARIABLE to those of the files of this directory that are there.
function(heapstorm_existing variable)
	set(existing)
	foreach(file ${ARGN})
		if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
			list(APPEND existing "${file}")
		endif()
	endforeach()
	set(${variable} "${existing}" PARENT_SCOPE)
endfunction()

# heapstorm_bundle(NAME VARIANT SOURCE... [KEEP PATTERN...] [INCLUDES DIRECTORY...] [CFLAGS FLAG...])
#
# Makes the bundle NAME (a C identifier) of an allocator in a variant (plain, asan, fuzz, tsan, sched: cmake/bundle_allocator.sh) out of the
# sources, and the target heapstorm_bundle_NAME_VARIANT that brings it to whoever links with it.
function(heapstorm_bundle name variant)
	cmake_parse_arguments(PARSE_ARGV 2 bundle "" "" "KEEP;INCLUDES;CFLAGS")
	set(sources)
	foreach(source ${bundle_UNPARSED_ARGUMENTS})
		get_filename_component(source "${source}" ABSOLUTE)
		list(APPEND sources "${source}")
	endforeach()
	list(TRANSFORM bundle_KEEP PREPEND "--keep;")
	list(TRANSFORM bundle_INCLUDES PREPEND "--include;")
	if(HEAPSTORM_COVERAGE)
		list(APPEND bundle_CFLAGS -fprofile-instr-generate -fprofile-update=atomic -fcoverage-mapping)
	endif()
	list(JOIN bundle_CFLAGS " " cflags)
	set(script "${CMAKE_SOURCE_DIR}/cmake/bundle_allocator.sh")
	set(support "${CMAKE_SOURCE_DIR}/harness/bundle")
	set(object "${CMAKE_BINARY_DIR}/bundles/${name}.${variant}.o")
	set(target heapstorm_bundle_${name}_${variant})
	file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/bundles")
	add_custom_command(
		OUTPUT "${object}"
		COMMAND sh "${script}" --name ${name} --variant ${variant} --cc "${CMAKE_C_COMPILER}" --out "${object}"
			--depfile "${object}.d" --cflags "-Wall -Wextra -Werror ${cflags}" ${bundle_KEEP} ${bundle_INCLUDES} -- ${sources}
		DEPENDS ${sources} "${script}" "${support}/begin.c" "${support}/end.c" "${support}/bundle.h" "${support}/bundle.ld"
		DEPFILE "${object}.d"
		COMMENT "Bundling ${name} (${variant})"
		VERBATIM)
	add_custom_target(${target}_object DEPENDS "${object}")
	add_library(${target} INTERFACE)
	target_sources(${target} INTERFACE "${object}")
	add_dependencies(${target} ${target}_object)
endfunction()

# Adds the runtime of a variant to an executable.
function(heapstorm_link_variant target variant)
	if(variant STREQUAL asan)
		target_link_options(${target} PRIVATE -fsanitize=address,undefined)
	elseif(variant STREQUAL fuzz OR variant STREQUAL schedfuzz)
		target_link_options(${target} PRIVATE -fsanitize=fuzzer,address,undefined)
	elseif(variant STREQUAL tsan)
		target_link_options(${target} PRIVATE -fsanitize=thread)
	endif()
endfunction()

# heapstorm_allocator_sources(TARGET VARIABLE) sets VARIABLE to the full paths of the C sources of a library.
function(heapstorm_allocator_sources target variable)
	get_target_property(sources ${target} SOURCES)
	get_target_property(directory ${target} SOURCE_DIR)
	set(absolute)
	foreach(source ${sources})
		if(source MATCHES "\\.c$")
			get_filename_component(source "${source}" ABSOLUTE BASE_DIR "${directory}")
			list(APPEND absolute "${source}")
		endif()
	endforeach()
	set(${variable} "${absolute}" PARENT_SCOPE)
endfunction()

# The OS calls of harness/os_calls.c stand in front of libc's for the shared objects that the executable loads.
function(heapstorm_export_os_calls target)
	foreach(name mmap mmap64 munmap mremap madvise mprotect)
		target_link_options(${target} PRIVATE -Wl,--export-dynamic-symbol=${name})
	endforeach()
endfunction()
