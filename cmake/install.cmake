# What is installed beside the targets. The build folder is laid out as an installation is (bin, lib, libexec, share, include), so that
# everything is found from the place of the command in both.
install(FILES LICENSE README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.md")
install(DIRECTORY corpus/ DESTINATION share/heapstorm/corpus FILES_MATCHING PATTERN "*.heap" PATTERN "*.rep" PATTERN "*.zst" PATTERN "*.md")

# What an allocator of the user's is compiled and linked with: cmake/build_allocator.sh.
foreach(file
	cmake/build_allocator.sh
	cmake/bundle_allocator.sh
	cmake/find_clang.sh
	harness/bundle/prefix.c
	harness/bundle/begin.c
	harness/bundle/end.c
	harness/bundle/bundle.h
	harness/bundle/bundle.ld)
	get_filename_component(name ${file} NAME)
	set(place share/heapstorm)
	if(file MATCHES "/bundle/")
		set(place share/heapstorm/bundle)
	endif()
	configure_file(${file} "${CMAKE_BINARY_DIR}/${place}/${name}" COPYONLY)
	install(FILES ${file} DESTINATION ${place})
endforeach()
configure_file(alloc/allocator.h "${CMAKE_BINARY_DIR}/include/heapstorm/allocator.h" COPYONLY)
install(FILES alloc/allocator.h DESTINATION include/heapstorm)
install(FILES alloc/mem_alloc.h alloc/mem_alloc_2.0.h alloc/block.h DESTINATION include/heapstorm)

# heapstorm_linkable(NAME SOURCE...) makes the archive libheapstorm-NAME.a of what such an allocator is linked with.
function(heapstorm_linkable name)
	add_library(heapstorm-${name} STATIC ${ARGN})
	target_link_libraries(heapstorm-${name} PUBLIC heapstorm_engine)
	set_target_properties(heapstorm-${name} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib/heapstorm")
	install(TARGETS heapstorm-${name} ARCHIVE DESTINATION lib/heapstorm)
endfunction()
